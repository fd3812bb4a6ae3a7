"""Whether a model's calls of tools are calls that the request allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.wire.asked import Asked
from gateway.wire.reply import ToolCall
from router.after.form import fits

_ARGUMENTS = msgspec.json.Decoder(dict[str, Any]).decode


def refuse_calls(asked: Asked, calls: Sequence[ToolCall]) -> str | None:
    """Return what is wrong with them, or with there being none; None if they are as the request says.

    That says nothing of their sense: the right tool may be called with the wrong values.
    """
    declared = asked.functions_by_name() or {}
    wanted = asked.tool_choice
    named = _named(wanted)
    if not calls:
        return "calls no tool, although it must" if wanted == "required" or named is not None else None
    if wanted == "none" or not declared:
        return "calls a tool, although it must not"
    if asked.parallel_tool_calls is False and len(calls) > 1:
        return "calls several tools at once"
    for call in calls:
        if call.name not in declared or named not in (None, call.name):
            return "calls a tool that it was not given"
        try:
            arguments = _ARGUMENTS(call.arguments or "{}")
        except (msgspec.DecodeError, RecursionError):
            return "calls a tool with arguments that are no JSON object"
        if not fits(arguments, declared[call.name]):
            return "calls a tool with arguments that do not fit its schema"
    return None


def _named(choice: Any) -> str | None:
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
