"""W3C trace context: the ids and flags that tie the spans of two processes into one trace.

Source: https://www.w3.org/TR/trace-context-2/ (level 2, which adds the `random` flag).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from random import Random

SAMPLED = 0x01
RANDOM = 0x02
KNOWN_FLAGS = SAMPLED | RANDOM

MAX_TRACESTATE_CHARS = 512
MAX_TRACESTATE_MEMBERS = 32

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Where a span stands in its trace; ids are lower-case hex as in `traceparent`."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""
    """The caller's `tracestate`, passed on as it came."""

    @property
    def sampled(self) -> bool:
        """Whether the trace is being recorded."""
        return bool(self.flags & SAMPLED)

    @property
    def valid(self) -> bool:
        """Whether this names a span at all; false only for INVALID, the context of a tracer that is off."""
        return self.span_id != _NO_SPAN

    def traceparent(self) -> str:
        """Return the value of the `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def headers(self) -> dict[str, str]:
        """Return the headers that hand this context to the next process; empty if it is not valid."""
        if not self.valid:
            return {}
        if self.state:
            return {"traceparent": self.traceparent(), "tracestate": self.state}
        return {"traceparent": self.traceparent()}


INVALID = TraceContext(_NO_TRACE, _NO_SPAN, 0)


def parse(traceparent: str | None, tracestate: str | None) -> TraceContext | None:
    """Return the caller's context, or None where there is none that we may continue.

    A version that we do not know is read as far as we know it. Flag bits that have no meaning yet are
    cleared, which level 2 (section 3.2.2.5) asks of whoever passes them on; `random` is kept.
    """
    if not traceparent:
        return None
    match = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, int(flags, 16) & KNOWN_FLAGS, _bounded_state(tracestate))


def _bounded_state(tracestate: str | None) -> str:
    """Return `tracestate` cut to whole members within the limits: strangers must not size our headers."""
    if not tracestate or not tracestate.isascii() or not tracestate.isprintable():
        return ""
    members = [member.strip(" \t") for member in tracestate.split(",")][: MAX_TRACESTATE_MEMBERS * 2]
    members = [member for member in members if "=" in member][:MAX_TRACESTATE_MEMBERS]
    state = ",".join(members)
    if len(state) <= MAX_TRACESTATE_CHARS:
        return state
    return (
        state[: state.rfind(",", 0, MAX_TRACESTATE_CHARS + 1)] if "," in state[:MAX_TRACESTATE_CHARS] else ""
    )


# Not the `random` module's shared generator: whoever seeds that one would make our ids repeat.
_ids = Random()
os.register_at_fork(after_in_child=_ids.seed)


def new_trace_id() -> str:
    """Return a random trace id, never zero."""
    return f"{_ids.getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    """Return a random span id, never zero."""
    return f"{_ids.getrandbits(64) or 1:016x}"
