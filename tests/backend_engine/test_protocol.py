"""Request bodies are honoured in full or refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend_engine.errors import InvalidRequest, ModelNotFound, UnsupportedParameter
from backend_engine.protocol import parse_chat, parse_completion

MESSAGES = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()


def completion(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": "hi", **fields}).encode()


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
        ("prediction", {"type": "content", "content": "x"}),
        ("reasoning_effort", "high"),
        ("web_search_options", {"a": 1}),
        ("best_of", 3),
        ("store", True),
    ],
)
def test_what_chat_does_not_support_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        parse_chat(chat(**{field: value}), "m")
    assert caught.value.param == field
    assert field in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("echo", True), ("suffix", "x"), ("best_of", 2)])
def test_what_completions_do_not_support_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        parse_completion(completion(**{field: value}), "m")
    assert caught.value.param == field


@pytest.mark.parametrize(
    "neutral",
    [
        {"response_format": {"type": "text"}},
        {"tools": []},
        {"tool_choice": "none"},
        {"modalities": ["text"]},
        {"best_of": 1},
        {"store": False},
        {"priority": -5},
        {"user": "u", "metadata": {"k": "v"}, "service_tier": "auto"},
        {"temperature": None, "stop": None, "stream_options": None},
    ],
)
def test_neutral_values_pass(neutral: dict[str, object]) -> None:
    parse_chat(chat(**neutral), "m")


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(chat(temprature=1), "m")
    assert caught.value.param == "temprature"
    assert "temprature" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (chat(temperature="hot"), "temperature"),
        (chat(messages="hi"), "messages"),
        (chat(messages=[{"role": "robot", "content": "x"}]), "messages[0].role"),
        (chat(messages=[]), "messages"),
        (chat(n=0), "n"),
        (chat(n=129), "n"),
        (chat(stream_options={"include_usage": True}), "stream_options"),
        (chat(top_logprobs=3), "top_logprobs"),
        (chat(response_format={"type": "yaml"}), "response_format.type"),
        (chat(response_format={"type": "json_schema"}), "response_format"),
        (
            chat(response_format={"type": "json_schema", "json_schema": {"name": "a b"}}),
            "response_format.json_schema.name",
        ),
        (chat(tools=[{"type": "custom"}]), "tools[0].type"),
        (chat(tools=[{"type": "function"}]), "tools[0].function"),
        (chat(tools=[tool("ok"), tool("not ok")]), "tools[1].function.name"),
        (chat(tools=[tool("twice"), tool("twice")]), "tools"),
        (chat(tools=[tool("f", parameters={"type": "array"})]), "tools[0].function.parameters"),
        (chat(tool_choice="required"), "tool_choice"),
        (chat(tools=[tool("f")], tool_choice="maybe"), "tool_choice"),
        (chat(tools=[tool("f")], tool_choice=named("g")), "tool_choice.function.name"),
        (chat(tools=[tool("f")], tool_choice={"type": "allowed_tools"}), "tool_choice.type"),
        (b'{"model": "m"}', None),
        (b"[]", None),
        (b"{", None),
        (b'{"model": "\xff", "messages": []}', None),
        (b"[" * 100_000, None),
    ],
)
def test_a_wrong_body_is_a_clear_invalid_request(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(body, "m")
    assert caught.value.param == param
    assert len(str(caught.value)) > 10


def test_another_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="'m' does not exist"):
        parse_chat(chat(), "other")


def test_text_parts_are_joined_and_developer_means_system() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    assert parse_chat(chat(messages=messages), "m").template_messages() == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "ab"},
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "function", "content": "x", "name": "f"},
    ],
)
def test_messages_we_cannot_render_are_refused_with_their_place(message: dict[str, object]) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        parse_chat(chat(messages=[*MESSAGES, message]), "m").template_messages()
    assert caught.value.param is not None
    assert caught.value.param.startswith("messages[1].")


def test_prompts_in_all_four_forms() -> None:
    forms = ["a", ["a", "b"], [1, 2], [[1, 2], [3]]]
    parsed = [parse_completion(completion(prompt=form), "m").prompts for form in forms]
    assert parsed == [["a"], ["a", "b"], [[1, 2]], [[1, 2], [3]]]
    with pytest.raises(InvalidRequest):
        parse_completion(completion(prompt=[]), "m")


def test_max_completion_tokens_goes_before_max_tokens() -> None:
    assert parse_chat(chat(max_tokens=5, max_completion_tokens=7), "m").completion_tokens == 7
    assert parse_chat(chat(), "m").completion_tokens is None
    assert parse_completion(completion(), "m").completion_tokens == 16
