"""Runs a request through the hops, and decides what a hop's failure means.

A hop answers itself, or changes the exchange and calls `next`, or looks at what came back. Its deadline
covers its own work alone: the clock stands still while `next` runs. A hop that fails or runs late

- fails closed: the request fails with HopFailed (or with the GatewayError that the hop raised on purpose), or
- fails open: the request goes on as if the hop were not there. Before it called `next`, the following hop is
  called in its place; afterwards its answer counts unchanged. What follows never runs twice because of it.

An error that came out of `next` is nobody's failure on the way back and passes through every hop, and a
RequestError is the caller's fault: it goes out whatever the hop's rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import structlog

from gateway.answer import Answer
from gateway.errors import GatewayError, HopFailed, RequestError
from gateway.exchange import Exchange
from telemetry.names import FOREBAY_HOP_SKIPPED

Next: TypeAlias = Callable[[Exchange], Awaitable[Answer]]
_log = structlog.get_logger("gateway.pipeline")


class Hop(Protocol):
    """One step of a request's way."""

    name: str

    async def run(self, ex: Exchange, next: Next) -> Answer:
        """Return the request's answer."""


class OnFailure(Enum):
    """What a hop's failure means for the request."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Step:
    """A hop in its place: its deadline in seconds, if it has one, and what its failure means."""

    hop: Hop
    on_failure: OnFailure = OnFailure.CLOSED
    deadline_s: float | None = None


class Pipeline:
    """The hops of a gateway, in their order; the last one does not call `next`."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._run: Next = _nothing_left
        for step in reversed(steps):
            self._run = _Runner(step, self._run)

    async def run(self, ex: Exchange) -> Answer:
        """Return the answer of the first hop."""
        return await self._run(ex)


async def _nothing_left(ex: Exchange) -> Answer:
    raise HopFailed("No hop answered the request.")


class _Runner:
    """Calls one hop with a `next` that it watches."""

    __slots__ = ("_next", "_step")

    def __init__(self, step: Step, following: Next) -> None:
        self._step = step
        self._next = following

    async def __call__(self, ex: Exchange) -> Answer:
        visit = _Visit(self._next, self._step.deadline_s)
        try:
            if visit.clock is None:
                return await self._step.hop.run(ex, visit.next)
            async with visit.clock:
                return await self._step.hop.run(ex, visit.next)
        except Exception as error:
            return await self._failed(ex, visit, error)
        except BaseException as error:
            visit.drop_answer(error)
            raise
        finally:
            visit.closed = True

    async def _failed(self, ex: Exchange, visit: _Visit, error: Exception) -> Answer:
        visit.closed = True
        if visit.error is not None:
            raise visit.error
        if isinstance(error, RequestError):
            visit.drop_answer(error)
            raise error
        late = visit.late()
        name = self._step.hop.name
        if self._step.on_failure is OnFailure.CLOSED:
            visit.drop_answer(error)
            if isinstance(error, GatewayError) and not late:
                raise error
            _log.error("hop_failed", hop=name, late=late, request_id=ex.id, exc_info=None if late else error)
            raise HopFailed(f"The gateway's step '{name}' {'ran late' if late else 'failed'}.") from error
        _log.warning("hop_skipped", hop=name, late=late, request_id=ex.id, error=type(error).__name__)
        ex.span.event(FOREBAY_HOP_SKIPPED, {"hop": name, "error.type": type(error).__name__})
        if visit.answer is not None:
            return visit.answer
        return await self._next(ex)


class _Visit:
    """One run of one hop: its clock and what `next` gave it."""

    __slots__ = ("_following", "_left_s", "_running", "_since", "answer", "clock", "closed", "error")

    def __init__(self, following: Next, deadline_s: float | None) -> None:
        self._following = following
        self._left_s = deadline_s
        self._running = 0
        self._since = 0.0 if deadline_s is None else asyncio.get_running_loop().time()
        # Most hops have no deadline, and a clock that never strikes costs as much as a small hop.
        self.clock = None if deadline_s is None else asyncio.timeout(deadline_s)
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.closed = False

    async def next(self, ex: Exchange) -> Answer:
        """Run the following hops while the hop's own clock stands still."""
        if self.closed or self.late():
            raise HopFailed("A hop called the next one after its deadline.")
        self._pause()
        self.answer = self.error = None
        try:
            self.answer = await self._following(ex)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._resume()
        return self.answer

    def late(self) -> bool:
        """Return whether the hop's deadline has passed."""
        return self.clock is not None and self.clock.expired()

    def drop_answer(self, error: BaseException) -> None:
        """Close an answer that the hop took and will not hand on."""
        if self.answer is not None:
            self.answer.close(error)

    def _pause(self) -> None:
        self._running += 1
        if self.clock is not None and self._left_s is not None and self._running == 1:
            self._left_s -= asyncio.get_running_loop().time() - self._since
            self.clock.reschedule(None)

    def _resume(self) -> None:
        self._running -= 1
        if self.clock is not None and self._left_s is not None and self._running == 0 and not self.closed:
            self._since = asyncio.get_running_loop().time()
            self.clock.reschedule(self._since + max(0.0, self._left_s))
