"""The traffic of `bench roi`, its paid model, and how what it measures is put together."""

from __future__ import annotations

import itertools
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from benchmarks._roi_print import aims
from benchmarks._roi_run import cost
from benchmarks._roi_workloads import Workload, agent, all_workloads, chat, classic, reworded, sums, unique
from benchmarks.peers import mock_paid
from benchmarks.peers.mock_paid import Bill, Paid, key_of, tokens_of


def asked(workload: Workload) -> list[str]:
    return [json.dumps(ask.body("m")) for thread in workload.threads for ask in thread]


def test_traffic_is_the_same_each_time() -> None:
    for one, again in zip(all_workloads(0.2), all_workloads(0.2), strict=True):
        assert asked(one) == asked(again)


def test_nine_of_ten_of_the_classics_requests_are_repeats() -> None:
    workload = classic(300)
    rights = [ask.right["content"] for thread in workload.threads for ask in thread]
    assert (len(rights), len(set(rights))) == (300, 30)
    systems = {ask.messages[0]["content"] for thread in workload.threads for ask in thread}
    assert len(systems) == 1
    assert tokens_of(systems.pop()) == 1000


def test_a_classic_repeat_comes_after_its_first_answer() -> None:
    asked = [ask.messages[1]["content"] for (ask,) in classic(300).threads]
    assert len(set(asked[:20])) == 20
    for text in set(asked):
        places = [place for place, other in enumerate(asked) if other == text]
        assert len(places) == 1 or places[1] - places[0] >= 20


def test_four_of_five_reworded_requests_have_an_answer_that_was_given_before() -> None:
    workload = reworded(120)
    by_right: dict[str, set[str]] = {}
    for (ask,) in workload.threads:
        by_right.setdefault(ask.right["content"], set()).add(ask.messages[1]["content"])
    assert (len(workload.threads), len(by_right)) == (120, 24)
    assert sum(map(len, by_right.values())) > 60
    # A wording never has two answers.
    assert sum(map(len, by_right.values())) == len(set.union(*by_right.values()))


def test_no_request_of_the_unique_traffic_comes_twice() -> None:
    assert len(set(asked(unique(80)))) == 80


def test_a_conversation_grows_by_a_question_and_an_answer() -> None:
    for thread in chat(6).threads:
        assert [len(ask.messages) for ask in thread] == [2, 4, 6, 8, 10]
        for before, after in itertools.pairwise(thread):
            assert after.messages[: len(before.messages)] == before.messages
            assert after.messages[-2] == {"role": "assistant", **before.right}


def test_an_agents_tools_answer_the_calls_that_were_made() -> None:
    workload = agent(8)
    for thread in workload.threads:
        messages = thread[-1].messages
        calls = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
        answers = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
        assert calls == answers != []
    assert len(workload.threads) == 8
    assert all(thread in workload.threads[:6] for thread in workload.threads[6:])


def test_sums_are_right_and_not_learned_from() -> None:
    measured, learning = sums(60), sums(100, seed=6)
    for thread in measured.threads:
        one, sign, other, _, result = thread[0].right["content"].split()
        assert int(result) == (int(one) + int(other) if sign == "+" else int(one) * int(other))
    shared = set(asked(measured)) & set(asked(learning))
    assert len(shared) < 10


def test_every_request_has_one_answer() -> None:
    for workload in (*all_workloads(0.2), sums(30)):
        table = workload.table()
        for thread in workload.threads:
            for ask in thread:
                assert table[key_of(ask.messages)] == ask.right


@pytest.fixture
async def paid(monkeypatch: pytest.MonkeyPatch):
    for name in ("FIRST_TOKEN_S", "S_PER_TOKEN_READ", "S_PER_TOKEN_WRITTEN"):
        monkeypatch.setattr(mock_paid, name, 0.0)
    model = Paid({"1 long": {"content": "word " * 8}, "1 short": {"content": "yes"}})
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", model.chat), web.get("/bill", model.bill)])
    async with TestClient(TestServer(app)) as client:
        yield client


def body(text: str, padding: int = 0) -> dict[str, object]:
    tools = [{"type": "function", "padding": "x" * padding}]
    return {"model": "huge", "messages": [{"role": "user", "content": text}], "tools": tools}


async def test_the_paid_model_holds_what_a_key_has_sent_before(paid) -> None:
    async def cached(key: str, padding: int) -> int:
        headers = {"authorization": f"Bearer sk-roi-{key}"}
        async with paid.post("/v1/chat/completions", json=body("long", padding), headers=headers) as response:
            assert response.status == 200
            usage = (await response.json())["usage"]
            found: int = usage["prompt_tokens_details"]["cached_tokens"]
            assert usage["completion_tokens"] == 10
            return found

    assert [await cached("one", 6000) for _ in range(2)] == [0, 1408]
    assert await cached("two", 6000) == 0
    assert [await cached("one", 3000) for _ in range(2)] == [0, 0]
    async with paid.get("/bill", headers={"authorization": "Bearer sk-roi-one"}) as response:
        bill = Bill(**await response.json())
    assert (bill.requests, bill.cached_tokens, bill.output_tokens) == (4, 1408, 40)
    assert cost(bill) == pytest.approx(((bill.input_tokens - 1408) * 2.5 + 1408 * 1.25 + 40 * 10) / 1_000_000)


async def test_it_refuses_what_it_does_not_know(paid) -> None:
    key = {"authorization": "Bearer sk-roi-one"}
    for sent, headers, status in (
        (body("other"), key, 400),
        (body("short"), {}, 401),
        ({**body("short"), "model": "tiny"}, key, 404),
        (body("short"), key, 200),
    ):
        async with paid.post("/v1/chat/completions", json=sent, headers=headers) as response:
            assert response.status == status


def test_aims_that_are_missed_say_so() -> None:
    found = {
        "classic": {"forebay": {"cheaper": 0.9, "faster": 4.0, "wrong": 0}},
        "unique": {
            "direct": {"mean_ms": 1000},
            "forebay": {"added_mean_ms": 30.0, "cheaper": 0.0, "wrong": 2},
        },
    }
    told = list(aims(found))
    assert [line.rsplit(" ", 1)[1] for line in told if "aim" in line] == ["met", "MISSED", "MISSED", "MISSED"]
    assert "2 in unique" in told[-1]
