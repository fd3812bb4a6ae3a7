"""What a chat request holds its answer to, as one grammar.

Calls are written as Hermes models write them (also Qwen 2.5 and 3):

    <tool_call>
    {"name": "f", "arguments": {…}}
    </tool_call>

No JSON string holds a raw line break, so the end of a call cannot be mistaken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from backend_engine.structured.schema import Schema, styled

MAX_CALLS = 8
"""Calls in one answer: small models would repeat themselves until the token limit."""

CALL_TAG = "<tool_call>"
CALL_END_TAG = "</tool_call>"
BEFORE_NAME = f'{CALL_TAG}\n{{"name": "'
BEFORE_ARGUMENTS = '", "arguments": '
AFTER_ARGUMENTS = f"}}\n{CALL_END_TAG}"
BETWEEN_CALLS = "\n"

_ANY_TEXT = r"/(.|\n)*/"


@dataclass(frozen=True, slots=True)
class ToolFunction:
    """A function that may be called; `param` is where in the request its schema stands."""

    name: str
    parameters: Schema
    param: str


@dataclass(frozen=True, slots=True)
class Structure:
    """What an answer may be: `answer` or calls of `functions`.

    `answer` is a schema, None for free text; with `must_call` no answer is allowed, only calls.
    """

    answer: Schema | None = None
    functions: tuple[ToolFunction, ...] = ()
    must_call: bool = False
    parallel_calls: bool = True

    def grammar(self) -> str:
        """Return the structure in llguidance's Lark dialect."""
        rules = ["%llguidance {}"]
        if not self.functions:
            assert self.answer is not None, "free text needs no grammar"
            return "\n".join([*rules, f"start: %json {styled(self.answer)}"])
        calls = f"call {self._more_calls()}"
        if self.must_call:
            rules.append(f"start: {calls}")
        elif self.answer is not None:
            rules += [f"start: answer | {calls}", f"answer: %json {styled(self.answer)}"]
        else:
            # A lazy lexeme ends as soon as it can: once the tag is written, the text has become a call.
            rules += [f"start: TEXT | opening first {self._more_calls()}", f"TEXT: {_ANY_TEXT}"]
            rules += [f"opening[lazy]: /(.|\\n)*{CALL_TAG}/", *_choice("first", self.functions, CALL_TAG)]
        rules += _choice("call", self.functions, "")
        return "\n".join(rules)

    def _more_calls(self) -> str:
        return f"({json.dumps(BETWEEN_CALLS)} call){{0,{MAX_CALLS - 1}}}" if self.parallel_calls else ""


def _choice(rule: str, functions: Sequence[ToolFunction], written: str) -> list[str]:
    """Return the rules for a call of one of `functions`, of which `written` stands there already."""
    out = [f"{rule}: " + " | ".join(f"{rule}_{at}" for at in range(len(functions)))]
    for at, function in enumerate(functions):
        begin = json.dumps((BEFORE_NAME + function.name + BEFORE_ARGUMENTS).removeprefix(written))
        out.append(f"{rule}_{at}: {begin} %json {styled(function.parameters)} {json.dumps(AFTER_ARGUMENTS)}")
    return out
