"""Our tool goes behind the client's own, byte for byte, and comes out of answers again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.wire.own_tool import (
    MOST_ARGUMENTS,
    NAME,
    TOOL,
    Asked,
    OwnCall,
    appended,
    asked_in,
    exchange,
    injection,
    without_own_calls,
)
from gateway.wire.request import Endpoint, read_request
from gateway.wire.splice import splice

THEIRS = {"type": "function", "function": {"name": "read"}}


def request(**more: Any) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "a"}], **more}, indent=1
    ).encode()


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}, **more}


def answer(*calls: dict[str, Any], content: str | None = None) -> bytes:
    message = {"role": "assistant", "content": content, "tool_calls": list(calls), "x": 1.0}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return json.dumps({"id": "a", "choices": [choice], "usage": {"prompt_tokens": 1}}).encode()


def test_the_tool_stands_behind_the_clients_own() -> None:
    body = request(tools=[THEIRS], tool_choice="auto", n=1)
    edit = injection(body, read_request(body, Endpoint.CHAT))
    assert edit is not None
    after = splice(body, [edit])
    assert json.loads(after)["tools"] == [THEIRS, json.loads(TOOL)]
    assert after.replace(b"," + TOOL, b"") == body


@pytest.mark.parametrize(
    "choice", ["none", {"type": "function", "function": {"name": "read"}}, {"new": 1}, 7]
)
def test_a_choice_that_leaves_it_out_is_respected(choice: Any) -> None:
    body = request(tools=[THEIRS], tool_choice=choice)
    assert injection(body, read_request(body, Endpoint.CHAT)) is None


@pytest.mark.parametrize(
    "more", [{}, {"tools": None}, {"tools": []}, {"tools": {}}, {"tools": [7]}, {"tools": [THEIRS], "n": 3}]
)
def test_a_request_that_may_not_have_it_does_not_get_it(more: dict[str, Any]) -> None:
    body = request(**more)
    assert injection(body, read_request(body, Endpoint.CHAT)) is None


def test_a_tool_of_that_name_is_the_clients() -> None:
    body = request(tools=[{"type": "function", "function": {"name": NAME}}])
    assert injection(body, read_request(body, Endpoint.CHAT)) is None


def test_calls_and_results_stand_behind_the_clients_messages() -> None:
    body = request()
    view = read_request(body, Endpoint.CHAT)
    asked = Asked("Hm.", [OwnCall("a", '{"id":"x"}'), OwnCall("b", "{")])
    messages = json.loads(splice(body, [appended(view, exchange(asked, ["one", "two"]))]))["messages"]
    assert messages[0] == {"role": "user", "content": "a"}
    assert [each["id"] for each in messages[1]["tool_calls"]] == ["a", "b"] and messages[1][
        "content"
    ] == "Hm."
    assert [(each["tool_call_id"], each["content"]) for each in messages[2:]] == [("a", "one"), ("b", "two")]


def test_calls_of_ours_are_found_beside_others() -> None:
    asked = asked_in(answer(call("read"), call(NAME, id=None), call(NAME, id="d"), content="Hm."))
    assert asked is not None and asked.content == "Hm."
    assert [one.id for one in asked.calls] == ["call_1", "d"]
    assert asked_in(answer(call("read"))) is None


@pytest.mark.parametrize(
    "body", [b"{}", b'{"choices":[],"tool_calls":1}', b'{"choices":7,"tool_calls":1}', b'"tool_calls"']
)
def test_an_answer_of_an_unknown_shape_asks_for_nothing(body: bytes) -> None:
    assert asked_in(body) is None


def test_arguments_without_end_are_cut() -> None:
    made = call(NAME)
    made["function"]["arguments"] = "x" * (3 * MOST_ARGUMENTS)
    asked = asked_in(answer(made))
    assert asked is not None and len(asked.calls[0].arguments) == MOST_ARGUMENTS


def test_calls_of_ours_are_taken_out() -> None:
    left = json.loads(without_own_calls(answer(call(NAME), call("read", extra=True), content="Hm.")))
    (choice,) = left["choices"]
    assert choice["message"]["tool_calls"] == [call("read", extra=True)]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["x"] == 1.0 and "usage" in left


def test_an_answer_of_ours_alone_becomes_an_empty_one() -> None:
    (choice,) = json.loads(without_own_calls(answer(call(NAME))))["choices"]
    assert choice["finish_reason"] == "stop" and choice["message"]["content"] == ""
    assert "tool_calls" not in choice["message"]
