"""Remembers what was found out about a text for the next pair that it is in: `lru_cache`, but for long texts.

Taken apart, a text takes a hundred times its length, and such a cache counts entries, not bytes: with long
ones (answers, or questions where the configuration admits them) its few thousand places would hold gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

LONGEST = 1024
"""Characters of a text that is remembered."""
P = ParamSpec("P")
R = TypeVar("R")


def remembered(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function of texts, raw or parsed; `most` results are remembered."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached = lru_cache(most)(function)

        @wraps(function)
        def call(*texts: P.args, **nothing: P.kwargs) -> R:
            for text in texts:
                if len(text if isinstance(text, str) else text.raw) > LONGEST:  # type: ignore[attr-defined]
                    return function(*texts, **nothing)
            return cached(*texts, **nothing)  # type: ignore[arg-type]

        call.cache_info = cached.cache_info  # type: ignore[attr-defined]
        call.cache_clear = cached.cache_clear  # type: ignore[attr-defined]
        return call

    return decorate
