"""Whether a smaller tier's answer says what the last tier's does: that is what a route learns from.

First what can be checked by form (equal calls of tools, equal words, equal JSON, the same final number,
letter, yes or no), then what the semantic process makes of two texts, then a model, if the route has a judge.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from gateway.agreement import agree
from gateway.exchange import Exchange
from gateway.judge import Judge
from gateway.wire.reply import read_reply
from router.after.numbers import NUMBER, numbers_in, same, value_of
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.question import AnswerTexts, answer_texts

PATIENCE_S = 10.0
_SHORT = 80
"""Characters up to which the only number of an answer is its result."""
_LONGEST = 20_000
_SPACES = re.compile(r"\s+")
_MARKS = re.compile(r"[*_`#>\"'“”‘’]+")
_FINAL = re.compile(
    rf"(?:####|\\boxed\{{|\banswer\s*(?:is|:|=)|=)\s*[*_`(\\$]{{0,3}}(-?\s?{NUMBER})[\s*_`)%.}}\\$]*$",
    re.IGNORECASE,
)
# "A" begins many a sentence: a letter counts if it stands alone, in brackets or before a mark.
_CHOICE = re.compile(r"^(?:(?:the )?(?:correct )?answer ?(?:is)?:? ?)?(?:\(([a-h])\)|([a-h])(?=[.:)]|$))")
_YES_NO = re.compile(r"^(yes|no)\b")
_MOST_CHOICE = 200


@dataclass(frozen=True, slots=True)
class Comparer:
    """Compares answers; without `client` and `judge` by their form alone."""

    client: SemanticClient | None
    judge: Judge | None

    async def agree(self, small: bytes, last: bytes) -> bool | None:
        """Return whether two chat completions say the same; None if that can't be told without a model."""
        calls = _calls(small), _calls(last)
        if calls[0] or calls[1]:
            return calls[0] == calls[1]
        mine, theirs = answer_texts(small), answer_texts(last)
        if (found := by_form(mine.said, theirs.said)) is not None:
            return found
        # What stands beside an answer (a chain of thought) is not the answer.
        return await agree(self.client, AnswerTexts(mine.said, ()), AnswerTexts(theirs.said, ()), PATIENCE_S)

    async def judged(self, ex: Exchange, question: str, small: bytes, last: bytes) -> bool | None:
        """Return what the judge says, if there is one."""
        if self.judge is None:
            return None
        return await self.judge.agrees(ex, question, answer_texts(small).said, answer_texts(last).said)


def by_form(one: str, other: str) -> bool | None:
    """Return whether two answers agree as far as their form tells; None if it does not."""
    a, b = _plain(one), _plain(other)
    if not a or not b:
        return a == b
    if a == b:
        return True
    values = _json(one), _json(other)
    if None not in values:
        return bool(values[0] == values[1])
    numbers = _result(one), _result(other)
    if numbers[0] is not None and numbers[1] is not None:
        return same(numbers[0], numbers[1])
    for read in (_choice, _yes_no):
        found = read(a), read(b)
        if None not in found:
            return found[0] == found[1]
    return None


def _calls(answer: bytes) -> list[Any]:
    """Return the tools that an answer calls, with arguments as values: white space and order do not count."""
    reply = read_reply(answer)
    return [] if reply is None else [[call.name, _arguments(call.arguments)] for call in reply.calls]


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _plain(text: str) -> str:
    return _SPACES.sub(" ", _MARKS.sub("", text[:_LONGEST])).strip(" .!").casefold()


def _json(text: str) -> Any:
    text = text.strip()
    if text[:1] not in ("{", "[") or len(text) > _LONGEST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _result(text: str) -> float | None:
    """Return the number that an answer comes to, if it is plain which one that is."""
    end = text.strip()[-_SHORT:]
    if (final := _FINAL.search(end)) is not None:
        return value_of(final[1].replace(" ", ""))
    if len(text.strip()) > _SHORT:
        return None
    found = numbers_in(text)
    negative = re.search(r"(?<![\w.])-\s?\d", text) is not None
    return None if len(found) != 1 else -found[0] if negative else found[0]


def _choice(text: str) -> str | None:
    found = _CHOICE.match(text) if len(text) <= _MOST_CHOICE else None
    return None if found is None else found[1] or found[2]


def _yes_no(text: str) -> str | None:
    found = _YES_NO.match(text) if len(text) <= _MOST_CHOICE else None
    return None if found is None else found[1]
