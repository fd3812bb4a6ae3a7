"""What a request says to the cache: `Cache-Control`, `x-forebay-cache-ttl`, and LiteLLM's `cache` member.

`Cache-Control` has its HTTP meaning (RFC 9111, section 5.2.1); `private`, which HTTP knows of responses only,
says of a request that it shares nothing with other tenants, and so does a `namespace`. LiteLLM's names are
understood in that meaning too: its `no-cache` refreshes the entry, and its `s-maxage` is `max-age`. Where
places disagree, the stricter one counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

from semantic_cache.errors import BadDirective

CACHE_CONTROL = "cache-control"
CACHE_TTL = "x-forebay-cache-ttl"
CACHE_TAGS = "x-forebay-cache-tags"
BODY_FIELD = "cache"
MAX_SECONDS = 366 * 24 * 3600
"""Times above this are a unit mistaken, and would overflow a store's milliseconds somewhere."""
MAX_NAMESPACE_CHARS = 256
MAX_TAGS = 16
_TAG = re.compile(r"[A-Za-z0-9._:/-]{1,128}")

_DIRECTIVE = re.compile(
    r'[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=("(?:[^"\\]|\\.)*"|[^", \t]*))?[ \t]*(?:,|$)'
)
_EMPTY = re.compile(r"[ \t]*(?:,|$)")


class Directives(msgspec.Struct, frozen=True):
    """The request's wishes, from all places. Times in seconds; None is not said."""

    no_cache: bool = False
    """Fetch a fresh answer, and store it."""
    no_store: bool = False
    """Keep nothing of this answer. A stored one may still be served."""
    only_if_cached: bool = False
    """Answer from the cache or not at all (504)."""
    max_age: float | None = None
    min_fresh: float | None = None
    max_stale: float | None = None
    """Infinite if any staleness will do."""
    ttl: float | None = None
    """How long the answer may be kept."""
    private: bool = False
    """Share nothing with other tenants: neither this answer nor theirs."""
    namespace: str | None = None
    tags: tuple[str, ...] = ()
    """What the answer can be purged by."""

    @property
    def stays_alone(self) -> bool:
        """The request is none that tenants share: it says so, or has a partition of its own."""
        return self.private or self.namespace is not None


NO_DIRECTIVES = Directives()


def read_directives(
    cache_control: str | None, ttl: str | None = None, body: Any = None, tags: str | None = None
) -> Directives:
    """Return what the three headers and the body's `cache` member say together. Raises BadDirective."""
    if cache_control is None and ttl is None and body is None and tags is None:
        return NO_DIRECTIVES
    header = _cache_control(cache_control) if cache_control else NO_DIRECTIVES
    member = _body(body) if body is not None else NO_DIRECTIVES
    own = None if ttl is None else _seconds(ttl, CACHE_TTL)
    return Directives(
        no_cache=header.no_cache or member.no_cache,
        no_store=header.no_store or member.no_store,
        only_if_cached=header.only_if_cached,
        max_age=_least(header.max_age, member.max_age),
        min_fresh=header.min_fresh,
        max_stale=header.max_stale,
        ttl=_least(own, member.ttl),
        private=header.private,
        namespace=member.namespace,
        tags=() if tags is None else _tags(tags),
    )


def _cache_control(value: str) -> Directives:
    flags = {"no-cache": False, "no-store": False, "only-if-cached": False, "private": False}
    times: dict[str, list[float]] = {"max-age": [], "min-fresh": [], "max-stale": []}
    for name, argument in _directives(value):
        if name in flags:
            flags[name] = True
        elif name == "max-stale" and argument is None:
            times[name].append(math.inf)
        elif name in times:
            times[name].append(_seconds(argument or "", f"{CACHE_CONTROL}: {name}"))
    return Directives(
        no_cache=flags["no-cache"],
        no_store=flags["no-store"],
        only_if_cached=flags["only-if-cached"],
        private=flags["private"],
        max_age=min(times["max-age"], default=None),
        min_fresh=max(times["min-fresh"], default=None),
        max_stale=min(times["max-stale"], default=None),
    )


def _directives(value: str) -> list[tuple[str, str | None]]:
    found = []
    position = 0
    while position < len(value):
        if match := _DIRECTIVE.match(value, position):
            argument = match[2]
            if argument is not None and argument.startswith('"'):
                argument = re.sub(r"\\(.)", r"\1", argument[1:-1])
            found.append((match[1].lower(), argument))
        elif not (match := _EMPTY.match(value, position)):
            raise BadDirective(CACHE_CONTROL, f"The header '{CACHE_CONTROL}' is not a list of directives.")
        position = match.end()
    return found


def _body(value: Any) -> Directives:
    if not isinstance(value, dict):
        raise BadDirective(BODY_FIELD, f"'{BODY_FIELD}' must be an object.")
    read: dict[str, Any] = {}
    for name, member in value.items():
        if name not in _BODY:
            known = ", ".join(_BODY)
            raise BadDirective(f"{BODY_FIELD}.{name}", f"'{BODY_FIELD}' has no such field; it knows {known}.")
        if member is not None:
            field, convert = _BODY[name]
            read[field] = convert(member, f"{BODY_FIELD}.{name}")
    return Directives(**read)


def _tags(value: str) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(tag.strip() for tag in value.split(",")))
    if len(tags) > MAX_TAGS or not all(_TAG.fullmatch(tag) for tag in tags):
        raise BadDirective(
            CACHE_TAGS,
            f"'{CACHE_TAGS}' must be up to {MAX_TAGS} names of letters, digits and '._:/-', by commas.",
        )
    return tags


def _seconds(value: str, param: str) -> float:
    if not (value.isascii() and value.isdigit()) or len(value) > 10 or int(value) > MAX_SECONDS:
        raise BadDirective(param, f"'{param}' must be a whole number of seconds up to {MAX_SECONDS}.")
    return float(value)


def _number(value: Any, param: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_SECONDS:
        raise BadDirective(param, f"'{param}' must be a number of seconds from 0 to {MAX_SECONDS}.")
    return float(value)


def _flag(value: Any, param: str) -> bool:
    if not isinstance(value, bool):
        raise BadDirective(param, f"'{param}' must be true or false.")
    return value


def _namespace(value: Any, param: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAMESPACE_CHARS:
        raise BadDirective(param, f"'{param}' must be a text of 1 to {MAX_NAMESPACE_CHARS} characters.")
    return value


_BODY: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "ttl": ("ttl", _number),
    "s-maxage": ("max_age", _number),
    "no-cache": ("no_cache", _flag),
    "no-store": ("no_store", _flag),
    "namespace": ("namespace", _namespace),
}


def _least(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
