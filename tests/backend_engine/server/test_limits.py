"""Queue, priorities, deadlines and output caps over HTTP, on an engine that runs one sequence at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.engine_process import running_engine

CAP = 150


@pytest.fixture(scope="module")
def narrow_url(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    options: dict[str, Any] = {"max_sequences": 1, "max_waiting": 3, "max_output_tokens": CAP}
    with running_engine(smollm2_path, log, model_name="smollm2", **options) as url:
        yield url


@pytest.fixture
async def http(narrow_url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(narrow_url) as session:
        yield session


def body(max_tokens: int | None = 4, **settings: Any) -> dict[str, Any]:
    extras = {} if max_tokens is None else {"max_tokens": max_tokens}
    return {"model": "smollm2", "prompt": "Once", "ignore_eos": True, **extras, **settings}


async def metric(http: aiohttp.ClientSession, name: str) -> float:
    async with http.get("/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith(name):
                return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no metric {name}")


async def until(http: aiohttp.ClientSession, name: str, value: float) -> None:
    async with asyncio.timeout(30):
        while await metric(http, name) != value:
            await asyncio.sleep(0.01)


RUNNING = "forebay_engine_num_requests_running"
WAITING = "forebay_engine_num_requests_waiting"
USED = "forebay_engine_kv_cache_usage_perc"


async def test_a_request_past_its_deadline_ends_with_an_error_and_frees_its_memory(
    http: aiohttp.ClientSession,
) -> None:
    headers = {"x-forebay-deadline-ms": "300"}
    async with http.post("/v1/completions", json=body(CAP), headers=headers) as response:
        answer = await response.json()
        assert response.status == 504, answer
    assert answer["error"]["code"] == "deadline_exceeded"
    assert f"at most {CAP} tokens" in answer["error"]["message"]
    await until(http, RUNNING, 0)
    assert await metric(http, USED) == 0
    assert await metric(http, 'forebay_engine_request_success_total{finished_reason="deadline"}') > 0


async def test_a_stream_past_its_deadline_ends_with_an_error_event(http: aiohttp.ClientSession) -> None:
    headers = {"x-forebay-deadline-ms": "400"}
    async with http.post("/v1/completions", json=body(CAP, stream=True), headers=headers) as response:
        events = (await response.read()).decode().strip().split("\n\n")
    assert response.status == 200
    assert "deadline_exceeded" in events[-1]
    assert "[DONE]" not in events[-1]


async def test_a_deadline_counts_in_the_queue_too(http: aiohttp.ClientSession) -> None:
    first = asyncio.create_task(http.post("/v1/completions", json=body(CAP)))
    await until(http, RUNNING, 1)
    headers = {"x-forebay-deadline-ms": "200"}
    async with http.post("/v1/completions", json=body(1), headers=headers) as response:
        assert response.status == 504
        assert "after 0 of at most 1" in (await response.json())["error"]["message"]
    async with await first as response:
        assert response.status == 200


async def test_a_full_queue_refuses_with_a_time_to_come_back(http: aiohttp.ClientSession) -> None:
    async with asyncio.TaskGroup() as callers:
        tasks = [callers.create_task(http.post("/v1/completions", json=body(60))) for _ in range(8)]
    statuses = []
    for task in tasks:
        async with task.result() as response:
            statuses.append(response.status)
            if response.status == 429:
                assert int(response.headers["retry-after"]) >= 1
                assert (await response.json())["error"]["code"] == "engine_overloaded"
    assert statuses.count(429) >= 3
    assert set(statuses) == {200, 429}


@pytest.mark.parametrize("by_header", [False, True])
async def test_the_queue_is_in_order_of_priority(http: aiohttp.ClientSession, by_header: bool) -> None:
    order: list[int] = []

    async def ask(priority: int) -> None:
        headers = {"x-forebay-priority": str(priority)} if by_header else {}
        # A header overrules the body, so a client cannot push itself forward past its gateway.
        said = -priority if by_header else priority
        async with http.post("/v1/completions", json=body(3, priority=said), headers=headers) as response:
            assert response.status == 200
            await response.read()
        order.append(priority)

    async with asyncio.TaskGroup() as callers:
        blocker = callers.create_task(http.post("/v1/completions", json=body(100)))
        await until(http, RUNNING, 1)
        for waiting, priority in enumerate((5, 0, -5)):
            callers.create_task(ask(priority))
            await until(http, WAITING, waiting + 1)
    (await blocker).release()
    assert order == [-5, 0, 5]


async def test_output_is_capped_by_policy(http: aiohttp.ClientSession) -> None:
    chat = {"model": "smollm2", "messages": [{"role": "user", "content": "Count."}], "ignore_eos": True}
    async with http.post("/v1/chat/completions", json=chat) as response:
        answer = await response.json()
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (CAP, "length")
    async with http.post("/v1/chat/completions", json={**chat, "max_tokens": CAP + 1}) as response:
        assert response.status == 400
        assert f"at most {CAP} tokens of output" in (await response.json())["error"]["message"]
