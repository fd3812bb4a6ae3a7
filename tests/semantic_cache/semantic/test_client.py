"""What a worker has of the semantic process, and what it loses when that dies, hangs or talks nonsense."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from semantic_cache.semantic.client import LATE_CALLS, SemanticClient
from semantic_cache.semantic.launcher import SemanticOptions, launch
from semantic_cache.semantic.protocol import (
    MAX_FRAME,
    BadFrame,
    Call,
    Embed,
    Embedded,
    Failed,
    Found,
    Frames,
    Looked,
    Rank,
    Ranked,
    Reply,
    Search,
    decode_reply,
    frame,
)
from semantic_cache.semantic.service.server import Server
from tests.semantic_cache.support.semantic_process import (
    MODULE,
    PATIENT_S,
    Semantic,
    look,
    running_semantic,
    scope_of,
)

GONE_S = 0.05


@pytest.fixture
async def semantic(tmp_path: Path) -> AsyncIterator[Semantic]:
    async with running_semantic(tmp_path) as running:
        yield running


async def restart(semantic: Semantic) -> None:
    options = SemanticOptions(store=semantic.url)
    semantic.socket.parent.mkdir(mode=0o700, exist_ok=True)
    semantic.process = await launch(options, semantic.socket, module=MODULE)


async def test_many_calls_at_once_each_get_their_own_answer(semantic: Semantic) -> None:
    texts = [f"question number {n}" for n in range(100)]
    asked = [semantic.client.ask(Embed([text, text]), Embedded, PATIENT_S) for text in texts]
    vectors = set()
    for reply in await asyncio.gather(*asked):
        assert reply is not None and reply.vectors[0] == reply.vectors[1]
        vectors.add(reply.vectors[0])
    assert len(vectors) == len(texts)
    (one,) = (await semantic.client.ask(Embed(["one"]), Embedded, PATIENT_S) or Embedded("", 0, [])).vectors
    assert abs(float(np.linalg.norm(np.frombuffer(one, "<f4"))) - 1) < 1e-5


async def test_ranks_and_searches_for_other_hops(semantic: Semantic) -> None:
    await semantic.put("how tall is the tower")
    await semantic.put("who baked the bread")
    await semantic.until(2)
    ranked = await semantic.client.ask(Rank("red apple", ["apple red", "blue sky"]), Ranked, PATIENT_S)
    assert ranked is not None and ranked.similarities[0] > 0.99 > ranked.similarities[1]
    found = await semantic.client.ask(
        Search("acme", scope_of("acme"), "the tower how tall is", 1), Found, PATIENT_S
    )
    assert found is not None and [near.similarity > 0.99 for near in found.near] == [True]
    other = await semantic.client.ask(Search("acme", scope_of("other"), "tower"), Found, PATIENT_S)
    assert other == Found([])


async def test_a_dead_process_costs_a_call_nothing_and_is_found_again(
    semantic: Semantic,
) -> None:
    with capture_logs() as logs:
        semantic.process.process.kill()
        await semantic.process.wait()
        await semantic.until_up(False)
        # Refused without waiting: ten thousand calls would otherwise take minutes.
        for _ in range(10_000):
            assert await semantic.client.ask(look("q"), Looked, PATIENT_S) is None
        assert set(semantic.outcomes[-10_000:]) == {"down"}
        await restart(semantic)
        await semantic.until_up()
    assert (await semantic.look("q")).reason == "no_candidates"
    assert [line["event"] for line in logs] == ["semantic_unavailable", "semantic_recovered"]


async def test_calls_under_way_end_when_the_process_dies(semantic: Semantic) -> None:
    os.kill(semantic.process.process.pid, signal.SIGSTOP)
    calls = [asyncio.ensure_future(semantic.client.ask(look("q"), Looked, PATIENT_S)) for _ in range(20)]
    await asyncio.sleep(0)
    semantic.process.process.kill()
    assert await asyncio.gather(*calls) == [None] * 20


async def test_a_process_that_hangs_is_left_alone_after_a_few_late_calls(semantic: Semantic) -> None:
    os.kill(semantic.process.process.pid, signal.SIGSTOP)
    for _ in range(LATE_CALLS):
        assert await semantic.client.ask(look("q"), Looked, GONE_S) is None
    assert semantic.outcomes[-LATE_CALLS:] == ["late"] * LATE_CALLS
    assert not semantic.client.up
    assert await semantic.client.ask(look("q"), Looked, PATIENT_S) is None
    assert semantic.outcomes[-1] == "down"
    os.kill(semantic.process.process.pid, signal.SIGCONT)
    await semantic.until_up()
    assert (await semantic.look("q")).reason == "no_candidates"


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not what():
            await asyncio.sleep(0.005)


async def test_a_process_that_answers_and_does_not_embed_in_time_is_an_outage(tmp_path: Path) -> None:
    slow, probes = False, 0

    async def answer(call: Call) -> Reply | None:
        nonlocal probes
        if isinstance(call, Embed):
            probes += 1
            return None if slow else Embedded("e", 1, [b"\0\0\x80\x3f"])
        # The process gives up just before the caller does: late all the same.
        return Failed("late") if slow else Looked("refused")

    server, client = Server(answer), SemanticClient(str(tmp_path / "s"))
    await server.start(tmp_path / "s")
    client.start()
    await until(lambda: client.up)
    slow = True
    for _ in range(LATE_CALLS):
        assert client.up
        assert await client.ask(look("q"), Looked, GONE_S) is None
    assert not client.up
    seen = probes
    await until(lambda: probes > seen)
    assert not client.up
    slow = False
    await until(lambda: client.up)
    assert await client.ask(look("q"), Looked, PATIENT_S) == Looked("refused")
    await client.close()
    await server.close()


async def test_another_users_process_is_told_nothing(
    semantic: Semantic, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = os.geteuid() + 1
    monkeypatch.setattr("semantic_cache.semantic.client.os.geteuid", lambda: stranger)
    client = SemanticClient(str(semantic.socket))
    with capture_logs() as logs:
        client.start()
        await until(lambda: bool(logs))
        assert not client.up
    await client.close()
    assert [line["event"] for line in logs] == ["semantic_socket_refused"]


async def test_a_client_that_is_closed_leaves_no_task(semantic: Semantic) -> None:
    before = asyncio.all_tasks()
    client = SemanticClient(str(semantic.socket))
    client.start()
    await until(lambda: client.up)
    await asyncio.sleep(0)
    await client.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_caller_that_leaves_takes_nothing_from_the_others(semantic: Semantic) -> None:
    calls = [asyncio.ensure_future(semantic.client.ask(look("q"), Looked, PATIENT_S)) for _ in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, Looked) for answer in answers[1::2])


async def test_an_answer_of_another_kind_is_no_answer_and_ends_the_connection(semantic: Semantic) -> None:
    assert await semantic.client.ask(look("q"), Ranked, PATIENT_S) is None
    assert semantic.outcomes[-1] == "failed"
    await semantic.until_up()


async def test_a_socket_that_nobody_serves_is_tried_again(tmp_path: Path) -> None:
    client = SemanticClient(str(tmp_path / "nobody"))
    client.start()
    assert await client.ask(look("q"), Looked, PATIENT_S) is None
    await client.close()
    assert not client.up


async def test_nonsense_from_the_other_end_is_an_outage(tmp_path: Path) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(babble, tmp_path / "s")
    client = SemanticClient(str(tmp_path / "s"))
    client.start()
    assert await client.ask(look("q"), Looked, PATIENT_S) is None
    assert not client.up
    await client.close()
    server.close()


def test_frames_come_out_whole_however_they_are_split() -> None:
    sent = b"".join(frame(number, Failed("x" * number)) for number in range(1, 40))
    for step in (1, 3, 7, 64, len(sent)):
        frames, got = Frames(), []
        for start in range(0, len(sent), step):
            got += [decode_reply(body) for body in frames.feed(sent[start : start + step])]
        assert [number for number, _ in got] == list(range(1, 40))
    assert decode_reply(Frames().feed(frame(7, Found([])))[0]) == (7, Found([]))


def test_a_frame_has_a_bound_in_both_directions() -> None:
    with pytest.raises(BadFrame):
        Frames().feed((MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(BadFrame):
        frame(1, Failed("x" * (MAX_FRAME + 1)))
