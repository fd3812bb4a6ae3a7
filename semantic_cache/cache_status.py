"""The response headers `Cache-Status` (RFC 9211) and `Age` (RFC 9111, section 5.1)."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from semantic_cache.entry import Entry

CACHE_STATUS = "cache-status"
AGE = "age"
CACHE_NAME = "Forebay"

Forward: TypeAlias = Literal[
    "bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"
]
"""Why a request went on to the upstream, in RFC 9211's words."""


def hit_status(entry: Entry, now: float, detail: str | None = None) -> str:
    """Return the header of an answer out of the cache; its `ttl` is negative if it is stale."""
    return _render("hit", f"ttl={math.floor(entry.expires_at - now)}", _detail(detail))


def forward_status(
    reason: Forward, *, stored: bool = False, collapsed: bool = False, detail: str | None = None
) -> str:
    """Return the header of an answer from the upstream.

    `collapsed` says that the request shared somebody else's; `detail` is a word of ours and never content.
    """
    return _render(
        f"fwd={reason}", "stored" if stored else "", "collapsed" if collapsed else "", _detail(detail)
    )


def age_header(entry: Entry, now: float) -> str:
    """Return the entry's age in whole seconds."""
    return str(int(entry.age(now)))


def _render(*parameters: str) -> str:
    return "; ".join((CACHE_NAME, *filter(None, parameters)))


def _detail(word: str | None) -> str:
    return f"detail={word}" if word else ""
