"""All signs of one answer, and which of them could be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from router.after.asked_sum import asked_sum_signs
from router.after.focus import focus_signs
from router.after.form import json_validity, refuses, repetition
from router.after.grounding import grounding_signs
from router.after.logprobs import Token, logprob_signs
from router.after.worked import worked_signs

_LONGEST = 8_000
"""Characters that are looked at; what follows adds time and no insight."""


@dataclass(frozen=True, slots=True)
class SmallAnswer:
    """What the small tier said, as far as its upstream tells."""

    prompt: str
    """The text of the user's last message."""
    text: str
    finish_reason: str | None = None
    response_format: Mapping[str, Any] | None = None
    tokens: Sequence[Token] = ()
    """Empty if the upstream gives no log probabilities."""
    calls: bool = False
    """It calls tools; then `text` is what it says beside that."""
    fault: str | None = None
    """What is wrong with its calls of tools, or with there being none."""


@dataclass(frozen=True, slots=True)
class AnswerSigns:
    """Signs by name; a sign that could not be had is not among them."""

    values: Mapping[str, float]
    broken: str | None
    """Why the answer cannot be used whatever else it shows: `empty`, `cut`, `refused`, `looping`, `form`,
    `tools` (its calls are none that were asked for), `doubted` (at a second look)."""
    missing: tuple[str, ...]
    """Groups of signs that the upstream did not give: `logprobs`, `finish_reason`."""


def signs_of(answer: SmallAnswer) -> AnswerSigns:
    """Return the signs of an answer."""
    given = {"logprobs": bool(answer.tokens), "finish_reason": answer.finish_reason is not None}
    missing = tuple(name for name, here in given.items() if not here)
    if answer.calls or answer.fault is not None:
        # What is known of worked solutions says nothing of a call.
        return AnswerSigns(logprob_signs(answer.tokens), _broken_call(answer), missing)
    text = answer.text[:_LONGEST]
    repeated = repetition(text)
    prompt = answer.prompt[:_LONGEST]
    values = worked_signs(prompt, text) | {"repetition": repeated}
    values |= grounding_signs(prompt, text) | asked_sum_signs(prompt, text)
    values |= logprob_signs(answer.tokens) | focus_signs(prompt, answer.tokens)
    return AnswerSigns(values, _broken(answer, text, repeated), missing)


def _broken_call(answer: SmallAnswer) -> str | None:
    if answer.finish_reason in ("length", "content_filter"):
        return "cut"
    return None if answer.fault is None else "tools"


def _broken(answer: SmallAnswer, text: str, repeated: float) -> str | None:
    if not text.strip():
        return "empty"
    if answer.finish_reason in ("length", "content_filter"):
        return "cut"
    if json_validity(answer.text, answer.response_format) == "invalid":
        return "form"
    if refuses(text):
        return "refused"
    # Half of all sequences seen before: a list of similar lines stays well below that.
    if repeated > 0.5:
        return "looping"
    return None
