"""Only what is complete, right by its own account and replayable without loss is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semantic_cache.admission import STORED, judge_body, judge_stream, refuse_request
from semantic_cache.assemble import DONE, Recording
from semantic_cache.question import read_question
from tests.semantic_cache.support.answers import USAGE, chat, chunk, completion, stream

CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def recorded(*data: bytes, max_bytes: int = 10_000) -> Recording:
    recording = Recording(max_bytes)
    for one in data:
        recording.feed(one)
    return recording


def test_a_complete_answer_is_stored_without_what_belongs_to_its_call() -> None:
    verdict = judge_body("chat", 200, chat("Hello é", timings={"ms": 1}))
    assert verdict.stored and verdict.has_usage
    whole = json.loads(chat("Hello é"))
    del whole["id"], whole["created"]
    assert json.loads(verdict.answer) == whole


def test_values_keep_their_own_bytes() -> None:
    choices = b'[ {"message":{"content":"\\u00e9"},"finish_reason":"stop"} ]'
    body = b'{"id":"x", "choices" : %s ,"usage":{"x":1.50}}' % choices
    assert judge_body("chat", 200, body).answer == b'{"choices":%s,"usage":{"x":1.50}}' % choices


@pytest.mark.parametrize("usage", [None, {}, USAGE])
@pytest.mark.parametrize("content", ["Hello", 'q"\\u00e9\n', "x" * 5000])
def test_a_plain_answer_is_judged_as_any_other(content: str, usage: Any) -> None:
    plain = judge_body("chat", 200, chat(content, usage=usage))
    # The same answer with a member that says nothing gets the closer look.
    other = judge_body("chat", 200, chat(content, usage=usage, message={"tool_calls": []}))
    assert plain.stored and other.stored
    assert plain.has_usage == other.has_usage == (usage == USAGE)
    whole = json.loads(other.answer)
    del whole["choices"][0]["message"]["tool_calls"]
    assert json.loads(plain.answer) == whole


def test_an_answer_without_token_counts_says_so() -> None:
    assert not judge_body("chat", 200, chat(usage=None)).has_usage


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (chat(finish="length"), "length"),
        (chat(finish="content_filter"), "content_filter"),
        (chat(None, finish="tool_calls", message={"tool_calls": CALL}), "tool_calls"),
        (chat("x", message={"tool_calls": CALL}), "tool_calls"),
        (chat("x", message={"function_call": {"name": "f"}}), "tool_calls"),
        (chat("x", message={"audio": {"id": "a"}}), "audio"),
        (chat("x", message={"annotations": [{"type": "url_citation"}]}), "unknown_field"),
        (chat("x", message={"new_field": "said"}), "unknown_field"),
        (chat([{"type": "text", "text": "x"}]), "unknown_field"),
        (chat("x", new_field={"a": 1}), "unknown_field"),
        (chat("x", message={"role": "user"}), "role"),
        (chat("x", finish=None), "unfinished"),
        (chat("x", finish="some new reason"), "unfinished"),
        (chat(""), "empty"),
        (chat(None), "empty"),
        (chat("x", error={"message": "overloaded"}), "error"),
        (chat("x", choices=[]), "no_choices"),
        (chat("x", choices=json.loads(chat("x"))["choices"] * 2), "choices"),
        (chat("x", choices=None), "malformed"),
        (b'{"error":{"message":"rate limited"}}', "error"),
        (b"<html>", "malformed"),
        (b"[]", "malformed"),
        (b'{"choices":' + b"[" * 5000 + b"]" * 5000 + b"}", "malformed"),
    ],
)
def test_anything_else_is_refused_with_a_word(body: bytes, reason: str) -> None:
    verdict = judge_body("chat", 200, body)
    assert (verdict.reason, verdict.stored, verdict.answer) == (reason, False, b"")


def test_a_refusal_of_the_model_is_an_answer() -> None:
    assert judge_body("chat", 200, chat(None, message={"refusal": "I cannot."})).stored


@pytest.mark.parametrize("status", [199, 304, 400, 429, 500])
def test_only_success_is_stored(status: int) -> None:
    assert judge_body("chat", status, chat()).reason == "status"
    assert judge_stream("chat", status, recorded(*stream("x"), DONE)).reason == "status"


def test_what_is_too_large_is_not_stored() -> None:
    assert judge_body("chat", 200, chat("x" * 1000), max_bytes=1000).reason == "size"
    recording = recorded(*stream("x" * 1000), DONE, max_bytes=1000)
    assert judge_stream("chat", 200, recording).reason == "size"
    assert recording.chunks == []


def test_a_completion_may_have_a_choice_for_every_prompt() -> None:
    body = json.loads(completion())
    body["choices"].append({**body["choices"][0], "index": 1, "text": "Bye"})
    assert judge_body("completions", 200, json.dumps(body).encode()).stored
    body["choices"][1]["finish_reason"] = "length"
    assert judge_body("completions", 200, json.dumps(body).encode()).reason == "length"


def test_a_stream_is_stored_as_the_answer_that_it_adds_up_to() -> None:
    verdict = judge_stream("chat", 200, recorded(*stream("Hel", "", "lo"), DONE))
    assert verdict.reason == STORED and verdict.has_usage
    assert json.loads(verdict.answer) == {
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


def test_what_a_later_chunk_says_of_the_whole_answer_is_kept() -> None:
    first, *rest = stream("a", "b")
    bare = {name: value for name, value in json.loads(first).items() if name != "system_fingerprint"}
    verdict = judge_stream("chat", 200, recorded(json.dumps(bare).encode(), *rest, DONE))
    assert json.loads(verdict.answer)["system_fingerprint"] == "fp_1"
    assert json.loads(verdict.answer)["choices"][0]["message"]["content"] == "ab"


def test_token_counts_that_were_taken_out_of_the_stream_are_put_back() -> None:
    recording = recorded(*stream("x", usage=False), DONE)
    assert not judge_stream("chat", 200, recording).has_usage
    verdict = judge_stream("chat", 200, recording, usage=json.dumps(USAGE).encode())
    assert verdict.has_usage and json.loads(verdict.answer)["usage"] == USAGE


def test_a_stream_is_not_stored_before_its_terminal_event() -> None:
    assert judge_stream("chat", 200, recorded(*stream("x"))).reason == "incomplete"


def test_a_stream_whose_client_left_is_not_stored() -> None:
    recording = recorded(*stream("x"), DONE)
    assert judge_stream("chat", 200, recording, disconnected=True).reason == "disconnect"


def with_delta(**delta: Any) -> list[bytes]:
    return [chunk({"role": "assistant"}), chunk({"content": "x"}), chunk(delta), chunk(finish="stop")]


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        (stream("x", finish="length"), "length"),
        (with_delta(tool_calls=CALL), "tool_calls"),
        (with_delta(function_call={"name": "f"}), "tool_calls"),
        (with_delta(audio={"data": "x"}), "audio"),
        (with_delta(thinking="hm"), "unknown_field"),
        (with_delta(content=["x"]), "unknown_field"),
        (with_delta(role="user"), "role"),
        ([*stream("x"), b'{"error":{"message":"overloaded"}}'], "error"),
        ([*stream("x"), chunk({"content": "after the end"})], "malformed"),
        ([*stream("x"), b"{"], "malformed"),
        ([*stream("x"), b"[]"], "malformed"),
        ([chunk({"content": "x"})], "unfinished"),
        ([chunk(choices=[])], "no_choices"),
        ([*stream("x"), chunk({"content": "b"}, index=1, finish="stop")], "choices"),
        ([chunk({"content": "x"}, index=3, finish="stop")], "malformed"),
        (stream(""), "empty"),
        ([chunk({"content": "x"}, new_field="said"), chunk(finish="stop")], "unknown_field"),
        ([b'{"choices":[{"delta":{"content":"\\ud83d"},"index":0,"finish_reason":"stop"}]}'], "malformed"),
        ([b'{"choices":[{"delta":{"content":"x"},"index":"0"}]}'], "malformed"),
        ([b'{"choices":["x"]}'], "malformed"),
    ],
)
def test_a_stream_that_is_not_fully_understood_is_not_stored(chunks: list[bytes], reason: str) -> None:
    assert judge_stream("chat", 200, recorded(*chunks, DONE)).reason == reason


def question(**members: Any) -> Any:
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}], **members}
    return read_question("chat", json.dumps(body).encode())


@pytest.mark.parametrize(
    ("members", "sampled", "reason"),
    [
        ({}, "reuse", None),
        ({"n": 1}, "reuse", None),
        ({"n": None}, "reuse", None),
        ({"n": 2}, "reuse", "choices"),
        ({"n": "1"}, "reuse", "choices"),
        ({"n": True}, "reuse", "choices"),
        ({"store": True}, "reuse", "upstream_keeps"),
        ({"store": False}, "reuse", None),
        ({}, "off", "sampled"),
        ({"temperature": 0.5}, "off", "sampled"),
        ({"temperature": 0}, "off", None),
    ],
)
def test_some_requests_always_get_fresh_answers(members: Any, sampled: Any, reason: str | None) -> None:
    assert refuse_request(question(**members), sampled) == reason
