"""Leaves a failing store alone for a while, and says so once.

The first failure opens the circuit: calls are refused at once. When the wait is over one call is let through
to see; if it fails, the wait doubles, and if any call succeeds, the circuit closes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from semantic_cache.errors import StoreUnavailable
from semantic_cache.store.base import OnEvent, StoreEvent

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 5.0
# A store that comes and goes within this time is one outage, and in the log one pair of lines.
QUIET_S = 60.0

_log = structlog.get_logger("semantic_cache.store")


class Circuit:
    """The state of one store. Not thread-safe: belongs to the event loop."""

    def __init__(self, store: str, on_event: OnEvent, clock: Callable[[], float] = time.monotonic) -> None:
        """`store` is what the log calls it; `clock` returns monotonic seconds."""
        self._store = store
        self._on_event = on_event
        self._clock = clock
        self._open = False
        self._probing = False
        self._wait_s = FIRST_WAIT_S
        self._retry_at = 0.0
        self._since = 0.0
        self._logged = False
        self._quiet_until = float("-inf")
        self._refused = 0

    @property
    def open(self) -> bool:
        """Whether the store is taken to be down."""
        return self._open

    def enter(self) -> None:
        """Let a call begin. Raises StoreUnavailable while the store is left alone."""
        if not self._open:
            return
        now = self._clock()
        if now < self._retry_at:
            self._count()
            raise StoreUnavailable("The cache's store is down.")
        # This call is the probe. Should it be cancelled, the next one comes after another wait.
        self._retry_at = now + self._wait_s
        self._probing = True

    def failed(self, error: Exception) -> StoreUnavailable:
        """Take note of a failure; return what to raise."""
        now = self._clock()
        if not self._open:
            self._open = True
            self._since = now
            self._wait_s = FIRST_WAIT_S
            self._retry_at = now + self._wait_s
            self._refused = 0
            self._logged = now >= self._quiet_until
            if self._logged:
                _log.warning(
                    "store_unavailable", store=self._store, error=type(error).__name__, detail=str(error)
                )
        elif self._probing:
            self._probing = False
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            self._retry_at = now + self._wait_s
        self._count()
        return StoreUnavailable("The cache's store does not answer.")

    def worked(self) -> None:
        """Take note that the store did what it was asked."""
        if not self._open:
            return
        now = self._clock()
        self._open = self._probing = False
        self._quiet_until = now + QUIET_S
        if self._logged:
            _log.warning(
                "store_recovered", store=self._store, seconds=round(now - self._since, 3), calls=self._refused
            )

    def _count(self) -> None:
        self._refused += 1
        self._on_event(StoreEvent.UNAVAILABLE, 1)
