"""One clock for all spans of a process: monotonic inside, wall time outside."""

from __future__ import annotations

import time

_STEP_NS = 1_000_000_000


class Clock:
    """Nanoseconds since the epoch that never run backwards between two corrections.

    Wall clocks step, and monotonic clocks mean nothing to another process: so every time is a monotonic
    reading plus one offset, taken once. `correct` takes it anew after a laptop has slept (the monotonic
    clock stands still then) or the wall clock was set.
    """

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Return the present time."""
        return time.monotonic_ns() + self._offset

    def at(self, monotonic_s: float) -> int:
        """Return the time of a reading of `time.monotonic()` made in this process."""
        return int(monotonic_s * 1e9) + self._offset

    def correct(self) -> None:
        """Take the offset anew if it is more than a second off."""
        offset = time.time_ns() - time.monotonic_ns()
        if abs(offset - self._offset) > _STEP_NS:
            self._offset = offset
