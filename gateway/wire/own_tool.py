"""The tool that the gateway adds to a request's own, and answers itself: in the request and in whole answers.

The client never learns of it. It is spliced into the upstream's copy of the body, behind the client's tools,
and the calls of it with their results behind the client's messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.wire.elements import NotAnArray, elements
from gateway.wire.request import RequestView
from gateway.wire.splice import Edit

NAME = "forebay_retrieve"
TOOL = msgspec.json.encode(
    {
        "type": "function",
        "function": {
            "name": NAME,
            "description": (
                "Returns text that was left out of this conversation, where a mark such as "
                f"[… left out; {NAME} id=ID start=A end=B] says so. "
                "Call it only if what is missing may matter."
            ),
            "parameters": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "description": "The id in the mark."},
                    "start": {"type": "integer", "description": "First line of the original text."},
                    "end": {"type": "integer", "description": "Last line."},
                    "query": {"type": "string", "description": "Words that the passages wanted should have."},
                },
                "required": ["id"],
            },
        },
    }
)
MOST_ARGUMENTS = 8192
"""Characters of one call's arguments that are read."""


@dataclass(frozen=True, slots=True)
class OwnCall:
    """A call of our tool."""

    id: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What the model said in an answer that asks for our tool."""

    content: str | None
    calls: Sequence[OwnCall]


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Tool(msgspec.Struct):
    function: _Function | None = None


class _Call(_Tool):
    id: str | None = None


class _Message(msgspec.Struct):
    content: Any = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Reply(msgspec.Struct):
    choices: list[_Choice]


_TOOLS = msgspec.json.Decoder(list[_Tool]).decode
_REPLY = msgspec.json.Decoder(_Reply).decode
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_LIST = msgspec.json.Decoder(list[msgspec.Raw]).decode
_CALL = msgspec.json.Decoder(_Call).decode
_encode = msgspec.json.Encoder().encode


def injection(body: bytes, view: RequestView) -> Edit | None:
    """Return the edit that adds the tool; None for a request that may not have it.

    That is one without tools, one that says which of them is to be called, or that none is, one that wants
    several choices, and one that has a tool of that name.
    """
    tools = view.spans.get("tools")
    choices = view.spans.get("n")
    if tools is None or (choices is not None and body[choices.start : choices.end] not in (b"1", b"null")):
        return None
    choice = view.spans.get("tool_choice")
    if choice is not None and body[choice.start : choice.end] not in (b'"auto"', b'"required"', b"null"):
        return None
    try:
        theirs = _TOOLS(body[tools.start : tools.end])
        places = elements(body[tools.start : tools.end])
    except (msgspec.DecodeError, NotAnArray, RecursionError):
        return None
    if not theirs or any(tool.function is not None and tool.function.name == NAME for tool in theirs):
        return None
    end = tools.start + places[-1][1]
    return Edit(end, end, b"," + TOOL)


def exchange(asked: Asked, results: Sequence[str]) -> bytes:
    """Return the model's calls and their results as messages, to stand behind others.

    The calls of the client's own tools in the same answer are not among them: each call must have a result,
    and the model makes them again once it knows what it asked us for.
    """
    calls = [
        {"id": call.id, "type": "function", "function": {"name": NAME, "arguments": call.arguments}}
        for call in asked.calls
    ]
    messages: list[dict[str, Any]] = [{"role": "assistant", "content": asked.content, "tool_calls": calls}]
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": result}
        for call, result in zip(asked.calls, results, strict=True)
    ]
    return b"".join(b"," + _encode(message) for message in messages)


def appended(view: RequestView, messages: bytes) -> Edit:
    """Return the edit that puts messages behind the client's, which are one at least."""
    end = view.spans["messages"].end - 1
    return Edit(end, end, messages)


def asked_in(body: bytes) -> Asked | None:
    """Return the calls of our tool in a whole answer, None if there is none."""
    if b'"tool_calls"' not in body:
        return None
    try:
        message = _REPLY(body).choices[0].message
    except (msgspec.DecodeError, IndexError, RecursionError):
        return None
    calls = [
        own_call(call.id, call.function.arguments, number)
        for number, call in enumerate(message.tool_calls or ())
        if call.function is not None and call.function.name == NAME
    ]
    content = message.content if isinstance(message.content, str) else None
    return Asked(content, calls) if calls else None


def own_call(id: str | None, arguments: str | None, number: int) -> OwnCall:
    """Return a call; an upstream may give it no id."""
    return OwnCall(id or f"call_{number}", (arguments or "")[:MOST_ARGUMENTS])


def without_own_calls(body: bytes) -> bytes:
    """Return a whole answer without the calls of our tool; all other values keep their bytes."""
    answer = _OBJECT(body)
    choices = _LIST(answer["choices"])
    choice = _OBJECT(choices[0])
    message = _OBJECT(choice["message"])
    calls = [raw for raw in _LIST(message["tool_calls"]) if not _is_own(_CALL(raw))]
    if calls:
        message["tool_calls"] = msgspec.Raw(_encode(calls))
    else:
        del message["tool_calls"]
        choice["finish_reason"] = msgspec.Raw(b'"stop"')
        if bytes(message.get("content", b"null")) == b"null":
            message["content"] = msgspec.Raw(b'""')
    choice["message"] = msgspec.Raw(_encode(message))
    choices[0] = msgspec.Raw(_encode(choice))
    answer["choices"] = msgspec.Raw(_encode(choices))
    return _encode(answer)


def _is_own(call: _Call) -> bool:
    return call.function is not None and call.function.name == NAME
