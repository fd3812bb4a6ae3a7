"""How a model is told of its tools, where its chat template does not say it: a system text of ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from backend_engine.structured.api import Tool
from backend_engine.structured.grammar import AFTER_ARGUMENTS, BEFORE_ARGUMENTS, BEFORE_NAME, BETWEEN_CALLS

Message = dict[str, Any]

_EXAMPLE = f'{BEFORE_NAME}FUNCTION{BEFORE_ARGUMENTS}{{"PARAMETER": "VALUE"}}{AFTER_ARGUMENTS}'
_ANSWER_TAG, _ANSWER_END_TAG = "<tool_response>", "</tool_response>"


def describe(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return `tools` as chat templates expect them, which is OpenAI's own shape."""
    out = []
    for tool in tools:
        assert tool.function is not None
        function: dict[str, Any] = {"name": tool.function.name}
        if tool.function.description:
            function["description"] = tool.function.description
        function["parameters"] = tool.function.parameters or {"type": "object", "properties": {}}
        out.append({"type": "function", "function": function})
    return out


def with_tools(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """Return `messages` for a template that knows nothing of tools.

    The tools are described in the system message, calls stand in the assistant's text, and what tools
    answered is a user's message.
    """
    plain = [_plain(message) for message in messages]
    if not tools:
        return plain
    text = _system_text(tools)
    if plain[0]["role"] == "system":
        return [{**plain[0], "content": f"{plain[0]['content']}\n\n{text}"}, *plain[1:]]
    return [{"role": "system", "content": text}, *plain]


def _system_text(tools: Sequence[Tool]) -> str:
    listed = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in describe(tools))
    return (
        "You can call functions. These are the functions, one JSON object a line:\n"
        f"{listed}\n\n"
        f"To call one, answer with nothing but this:\n{_EXAMPLE}\n"
        "Call a function only when the user's request needs it; otherwise answer in plain text."
    )


def _plain(message: Message) -> Message:
    if message["role"] == "tool":
        return {"role": "user", "content": f"{_ANSWER_TAG}\n{message['content']}\n{_ANSWER_END_TAG}"}
    calls = [
        BEFORE_NAME
        + call["function"]["name"]
        + BEFORE_ARGUMENTS
        + json.dumps(call["function"]["arguments"], ensure_ascii=False)
        + AFTER_ARGUMENTS
        for call in message.get("tool_calls", ())
    ]
    text = BETWEEN_CALLS.join(([message["content"]] if message["content"] else []) + calls)
    return {"role": message["role"], "content": text}
