"""Which strategies are tried for a prompt, and in which order: by what is asked, and what it would cost."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.compression.mode import Way
from gateway.compression.question import about_the_whole
from gateway.config.schema import Price

WORTH_USD = 0.02
"""What it is worth to have one question answered from the whole prompt and not from excerpts."""
_COUNTING = re.compile(
    r"\b(count|how many|how much|how often|list|every|each|all|total|sum|average|mean|median|most|least|"
    r"fewest|extract|which|find|any|none|enumerate)\b",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"\b(summar\w+|outline|overview|gist|tl;?dr|themes?|abstract|main (?:points?|ideas?)|"
    r"key (?:points?|takeaways?)|what is (?:this|it) about|analy[sz]\w+|overall)\b",
    re.IGNORECASE,
)
_MILLION = 1_000_000


def order(question: str, allowed: Sequence[Way], *, first: Way | None, longer_is_worth_it: bool) -> list[Way]:
    """Return the strategies in the order in which they are tried; `first` is what the caller wants.

    A question about the whole needs something that reads the whole. One about a single fact is best answered
    by a model that holds everything, and next by what is found by the question.
    """
    suits: list[Way]
    if not question.strip() or _SUMMARY.search(question):
        suits = ["summarise", "window", "longer"]
    elif about_the_whole(question):
        suits = (
            ["window", "summarise", "longer"]
            if _COUNTING.search(question)
            else ["summarise", "window", "longer"]
        )
    else:
        suits = ["compress", "retrieve", "window", "summarise"]
        if longer_is_worth_it:
            suits.insert(0, "longer")
    wanted: list[Way] = [] if first is None else [first]
    return list(dict.fromkeys([*wanted, *(way for way in suits if way in allowed), *allowed]))


def is_worth_it(tokens: int, price: Price | None, read: int, own: Price | None) -> bool:
    """Return whether a longer model's answer is worth its price: it reads `tokens` at `price`, where the
    request's own model reads `read` tokens. What has no price costs nothing."""
    extra = tokens * (price.input if price else 0.0) - read * (own.input if own else 0.0)
    return extra / _MILLION <= WORTH_USD
