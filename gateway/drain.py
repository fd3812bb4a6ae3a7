"""Shutting down without cutting anyone off: running requests may finish, and those that cannot are told."""

from __future__ import annotations

import asyncio

_LAST_WORDS_S = 1.0


class Drain:
    """Knows the requests that are running, and ends them when the time is up."""

    def __init__(self) -> None:
        self.draining = False
        """The gateway is shutting down: it should be sent nothing more."""
        self.expired = False
        """The time is up: a request that is cancelled from now on is cancelled by us."""
        self._running: set[asyncio.Task[object]] = set()

    def enter(self) -> asyncio.Task[object]:
        """Count the current task as a running request until it is passed to `leave`."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        return task

    def leave(self, task: asyncio.Task[object]) -> None:
        """Take note that the task's request is over."""
        self._running.discard(task)

    async def finish(self, seconds: float) -> None:
        """Wait for the running requests for at most `seconds`, then cancel them and let them say so."""
        self.draining = True
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        self.expired = True
        if left := set(self._running):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_LAST_WORDS_S)
