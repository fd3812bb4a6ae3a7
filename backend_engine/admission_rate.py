"""How fast the queue moves, measured: what a refused caller is told about coming back."""

from __future__ import annotations

from collections import deque

_WINDOW = 64


class AdmissionRate:
    """The latest admissions from the queue into the batch, by the clock of the caller, in seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_WINDOW)

    def admitted(self, now: float) -> None:
        """Count one request that left the queue for the batch."""
        self._times.append(now)

    def seconds_for(self, count: int, now: float) -> float | None:
        """Return how long `count` admissions take at the measured rate, None if too few were seen.

        The time since the last one counts too, so a rate that was measured in a burst does not outlive it.
        """
        if len(self._times) < 2 or now <= self._times[0]:
            return None
        return count * (now - self._times[0]) / (len(self._times) - 1)
