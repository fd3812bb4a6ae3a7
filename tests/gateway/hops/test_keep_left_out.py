"""Keeping what was left out never holds a request up for long, nor outlives it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.answer import Answer
from gateway.cache_state import CacheState
from gateway.compression.kept import Kept
from gateway.compression.lookup import look_up
from gateway.compression.mode import Mode
from gateway.config.schema import CompressConfig, Model
from gateway.exchange import Call, Exchange, Route
from gateway.hops.compress import Compress
from gateway.hops.keep_left_out import KeepLeftOut
from gateway.hops.retrieve import Retrieve
from gateway.pipeline import OnFailure, Pipeline, Step
from gateway.wire.own_tool import NAME, OwnCall
from gateway.wire.request import Endpoint, outgoing, read_request
from semantic_cache.directives import Directives
from semantic_cache.entry import Entry
from semantic_cache.record import Record
from semantic_cache.scope import ExactKey
from semantic_cache.store.sqlite import SqliteStore
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Kind, NullTracer, RecordedSpan, Tracer
from tests.gateway.hops.test_retrieve import body_of, id_in, own_call, said


class Stalling(SqliteStore):
    """Answers until it is told not to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.stalls: set[str] = set()
        self.stalled = asyncio.Event()

    async def _wait(self, what: str) -> None:
        if what in self.stalls:
            self.stalled.set()
            await asyncio.Event().wait()

    async def get(self, key: ExactKey) -> Entry | None:
        await self._wait("get")
        return await super().get(key)

    async def put(self, key: ExactKey, entry: Entry, record: Record | None = None) -> bool:
        await self._wait("put")
        return await super().put(key, entry, record)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Stalling]:
    store = Stalling(tmp_path / "cache.db")
    yield store
    await store.close()


class Last:
    """Stands for the upstream: remembers bodies, and asks for what was left out."""

    name = "upstream"

    def __init__(self, store: Stalling, *, stalls_then: str = "") -> None:
        self.bodies: list[Any] = []
        self._store = store
        self._then = stalls_then

    async def run(self, ex: Exchange, next: Any) -> Answer:
        assert ex.view is not None
        edits = () if ex.compression is None else ex.compression.edits
        body = json.loads(outgoing(ex.body, ex.view, model="m", usage=False, prompt=edits))
        self.bodies.append(body)
        ex.calls.append(Call("up", "m", Model("up"), status=200))
        if self._then:
            self._store.stalls.add(self._then)
        asks = len(body["tools"]) > 1 and len(self.bodies) == 1
        return Answer(200, said(None, own_call({"id": id_in(body)})) if asks else said("Fine."), {})


def pipeline(
    store: Stalling, last: Last, spans: list[RecordedSpan], deadline_s: float
) -> tuple[Pipeline, Exchange]:
    body = json.dumps(body_of()).encode()

    async def receive(limit: int) -> bytes:
        return body

    tracer, metrics, kept = Tracer(spans.append), GatewayMetrics(), Kept(store, 600)
    ex = Exchange(Endpoint.CHAT, {}, receive, tenant="t", body=body, compress=Mode("ratio", 4.0))
    ex.view = read_request(body, Endpoint.CHAT)
    ex.route = Route("m", "m", Model("up"), "m")
    ex.span = tracer.start("request", kind=Kind.SERVER)
    steps = [
        Step(Compress(CompressConfig(), tracer, metrics), OnFailure.OPEN),
        Step(KeepLeftOut(kept, metrics), OnFailure.OPEN, deadline_s),
        Step(Retrieve(kept, tracer, metrics)),
        Step(last),
    ]
    return Pipeline(steps), ex


@pytest.mark.parametrize("where", ["get", "put"])
async def test_a_client_that_leaves_while_texts_are_kept_reaches_no_upstream(
    store: Stalling, where: str
) -> None:
    store.stalls.add(where)
    last = Last(store)
    hops, ex = pipeline(store, last, [], 60.0)
    running = asyncio.create_task(hops.run(ex))
    await store.stalled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert last.bodies == []


@pytest.mark.parametrize("where", ["get", "put"])
async def test_a_store_that_stalls_costs_the_tool_and_nothing_else(store: Stalling, where: str) -> None:
    store.stalls.add(where)
    last = Last(store)
    hops, ex = pipeline(store, last, [], 0.01)
    assert (await hops.run(ex)).status == 200
    (body,) = last.bodies
    text = body["messages"][2]["content"]
    assert "left out" in text and NAME not in text and len(body["tools"]) == 1


async def test_a_client_that_leaves_while_the_model_is_answered_ends_the_span(store: Stalling) -> None:
    spans: list[RecordedSpan] = []
    last = Last(store, stalls_then="get")
    hops, ex = pipeline(store, last, spans, 60.0)
    running = asyncio.create_task(hops.run(ex))
    await store.stalled.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [span.name for span in spans] == ["compress", "retrieve"] and len(last.bodies) == 1


async def test_the_model_is_asked_again_with_what_was_kept(store: Stalling) -> None:
    last = Last(store)
    hops, ex = pipeline(store, last, [], 60.0)
    answer = await hops.run(ex)
    assert isinstance(answer.body, bytes) and b"Fine." in answer.body
    assert [len(body["messages"]) for body in last.bodies] == [3, 5]
    assert "handled request r150" in last.bodies[1]["messages"][4]["content"]


async def test_of_a_request_that_says_no_store_nothing_is_kept(store: Stalling) -> None:
    last = Last(store)
    hops, ex = pipeline(store, last, [], 60.0)
    ex.cache = CacheState(Directives(no_store=True))
    assert (await hops.run(ex)).status == 200
    (body,) = last.bodies
    text = body["messages"][2]["content"]
    assert "left out" in text and NAME not in text and len(body["tools"]) == 1
    assert (await store.stats()).entries == 0


async def test_much_that_was_left_out_is_searched_beside_other_requests(
    store: Stalling, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def search(*asked: Any) -> str | None:
        threads.append(threading.get_ident())
        return look_up(*asked)

    monkeypatch.setattr("gateway.hops.retrieve.look_up", search)
    kept, lines = Kept(store, 600), [f"request r{line} was handled\n" for line in range(2000)]
    sent = await kept.keep("t", "m", "".join(lines), "[lines 1-2000 left out]", NAME)
    assert sent is not None
    _, ex = pipeline(store, Last(store), [], 60.0)
    call = OwnCall("c", json.dumps({"id": sent.split("id=")[1].split()[0], "query": "r77"}))
    (result,) = await Retrieve(kept, NullTracer(), GatewayMetrics()).answer(ex, [call])
    assert "request r77 was handled" in result
    assert threads and threading.get_ident() not in threads
