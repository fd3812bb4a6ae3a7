"""Whether a stored answer may serve a request, by age alone (RFC 9111, section 4.2; RFC 5861, section 3)."""

from __future__ import annotations

from enum import Enum

from semantic_cache.directives import Directives
from semantic_cache.entry import Entry


class Use(Enum):
    """What to do with an entry."""

    FRESH = "fresh"
    """Serve it."""
    STALE = "stale"
    """Serve it and fetch a new one in the background."""
    NO = "no"
    """Ask the upstream, as if it were not there."""


def use_of(entry: Entry, directives: Directives, now: float) -> Use:
    """Return what the request's directives and the entry's times allow."""
    if directives.no_cache:
        return Use.NO
    if directives.max_age is not None and entry.age(now) > directives.max_age:
        return Use.NO
    if directives.max_age == 0:
        return Use.NO
    if directives.min_fresh is not None and entry.expires_at - now < directives.min_fresh:
        return Use.NO
    if entry.fresh(now):
        return Use.FRESH
    if now >= entry.stale_until:
        return Use.NO
    if directives.max_stale is not None and now - entry.expires_at > directives.max_stale:
        return Use.NO
    return Use.STALE
