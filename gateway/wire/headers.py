"""Which headers pass, in each direction, and which of ours a request may carry. All else stays here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import cast, get_args
from urllib.parse import quote

from gateway.compression.mode import BadMode, Mode, read_mode
from gateway.config.schema import Streams
from gateway.errors import InvalidRequest

REQUEST_ID = "x-forebay-request-id"
TRACE_ID = "x-forebay-trace-id"
ROUTE = "x-forebay-route"
ROUTE_REASON = "x-forebay-route-reason"
STREAM = "x-forebay-stream"
SESSION = "x-forebay-session"
ATTEMPTS = "x-forebay-attempts"
COST = "x-forebay-cost-usd"
REPORT = "x-forebay-report"
COMPRESS = "x-forebay-compress"
TOKENS_SAVED = "x-forebay-tokens-saved"
CACHE = "x-forebay-cache"
CACHE_TTL = "x-forebay-cache-ttl"
CACHE_TAGS = "x-forebay-cache-tags"
CACHE_THRESHOLD = "x-forebay-cache-threshold"
SIMILARITY = "x-forebay-similarity"

# Credentials, cookies, addresses and everything unknown end here: an upstream learns what it needs.
_TO_UPSTREAM = ("openai-beta",)
# `x-should-retry` is how OpenAI's servers tell the SDK; rate limit headers would show the operator's account.
_TO_CLIENT = ("content-type", "retry-after", "retry-after-ms", "server-timing", "x-should-retry")

_BUILT = (ROUTE, STREAM, SESSION, REPORT, COMPRESS, CACHE_TTL, CACHE_TAGS, CACHE_THRESHOLD)
_MOST_REASON = 240


def to_upstream(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the client's headers that go upstream."""
    return {name: value for name in _TO_UPSTREAM if (value := headers.get(name)) is not None}


def to_client(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the upstream's headers that go to the client."""
    return {name: value for name in _TO_CLIENT if (value := headers.get(name)) is not None}


def refuse_unknown(headers: Mapping[str, str]) -> None:
    """Refuse an `x-forebay-` header that would otherwise be ignored. Raises InvalidRequest."""
    for header in headers:
        if header[:10].lower() != "x-forebay-" or (name := header.lower()) in _BUILT:
            continue
        near = difflib.get_close_matches(name, _BUILT, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InvalidRequest(f"The header '{name}' is not known.{hint}", param=name, code="unknown_header")


def wants_report(headers: Mapping[str, str]) -> bool:
    """Return whether the client asks for the report at the end of a stream. Raises InvalidRequest."""
    value = headers.get(REPORT)
    if value in (None, "0"):
        return False
    if value != "1":
        raise InvalidRequest(f"The header '{REPORT}' must be 0 or 1.", param=REPORT)
    return True


def stream_mode(headers: Mapping[str, str]) -> Streams | None:
    """Return how a stream goes whose answer is judged, None if it is not said. Raises InvalidRequest."""
    value = headers.get(STREAM)
    if value is None:
        return None
    for mode in get_args(Streams):
        if value == mode:
            return cast(Streams, mode)
    raise InvalidRequest(
        f"The header '{STREAM}' must be one of {', '.join(get_args(Streams))}.", param=STREAM
    )


def session_name(headers: Mapping[str, str]) -> str | None:
    """Return what the client calls this conversation, None if it does not say. Raises InvalidRequest."""
    value = headers.get(SESSION)
    if value is not None and not re.fullmatch(r"[!-~]{1,128}", value):
        raise InvalidRequest(
            f"The header '{SESSION}' must be 1 to 128 printable characters without spaces.", param=SESSION
        )
    return value


def compress_mode(headers: Mapping[str, str]) -> Mode | None:
    """Return how much of the prompt may go, None if it is not said. Raises InvalidRequest."""
    value = headers.get(COMPRESS)
    if value is None:
        return None
    try:
        return read_mode(value)
    except BadMode as error:
        raise InvalidRequest(f"The header '{COMPRESS}' {error}.", param=COMPRESS) from None


def similarity_threshold(headers: Mapping[str, str]) -> float | None:
    """Return the similarity below which the caller wants nothing from the cache. Raises InvalidRequest."""
    value = headers.get(CACHE_THRESHOLD)
    if value is None:
        return None
    # Not what Python takes for a number: 1_0, nan, infinity.
    if not re.fullmatch(r"0|1|[01]?\.[0-9]{1,9}", value) or float(value) > 1:
        raise InvalidRequest(
            f"The header '{CACHE_THRESHOLD}' must be a number from 0 to 1, such as 0.95.",
            param=CACHE_THRESHOLD,
        )
    return float(value)


def one_line(reason: str) -> str:
    """Return a reason as a header value."""
    return "".join(char if " " <= char <= "~" else "?" for char in reason[:_MOST_REASON])


@lru_cache(256)
def printable(name: str) -> str:
    """Return a name that a client chose as a header value: no line ends, nothing beyond ASCII."""
    return quote(name, safe=" !#$&'()*+,-./:;<=>?@[]^_`{|}~")
