"""Runs a request through the hops, and decides what a hop's failure means.

A hop answers itself, or changes the exchange and calls `next`, or looks at what came back. Its deadline
covers its own work alone: the clock stands still while `next` runs. A hop that fails or runs late

- fails closed: the request fails with HopFailed (or with the GatewayError that the hop raised on purpose), or
- fails open: the request goes on as if the hop were not there. Before it called `next`, the following hop is
  called in its place; afterwards its answer counts unchanged. What follows never runs twice because of it.

An error that came out of `next` is nobody's failure on the way back and passes through every hop, and a
RequestError is the caller's fault: it goes out whatever the hop's rule. An answer that no hop hands on is
closed by the exchange that it was made for, at its end.
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
        self.run: Next = _nothing_left
        """Returns the answer of the first hop."""
        for step in reversed(steps):
            plain = step.on_failure is OnFailure.CLOSED and step.deadline_s is None
            self.run = (_closed if plain else _watched)(step, self.run)


async def _nothing_left(ex: Exchange) -> Answer:
    raise HopFailed("No hop answered the request.")


def _closed(step: Step, following: Next) -> Next:
    """Return what runs a hop without a deadline whose failure fails the request.

    Whatever is not a GatewayError is this hop's own failure: the hops behind it have turned theirs into one.
    """
    run, name = step.hop.run, step.hop.name

    async def closed(ex: Exchange) -> Answer:
        try:
            return await run(ex, following)
        except GatewayError:
            raise
        except Exception as error:
            raise _hop_failed(ex, name, error) from error

    return closed


def _watched(step: Step, following: Next) -> Next:
    """Return what runs a hop that has a deadline, or may fail without failing the request."""

    async def watched(ex: Exchange) -> Answer:
        visit = _Visit(following, step.deadline_s)
        try:
            if visit.clock is None:
                return await step.hop.run(ex, visit.next)
            async with visit.clock:
                return await step.hop.run(ex, visit.next)
        except Exception as error:
            visit.closed = True
            if visit.error is not None:
                raise visit.error from None
            if isinstance(error, RequestError):
                raise
            late, name = visit.late(), step.hop.name
            if step.on_failure is OnFailure.CLOSED:
                if isinstance(error, GatewayError) and not late:
                    raise
                raise _hop_failed(ex, name, error, late=late) from error
            _log.warning("hop_skipped", hop=name, late=late, request_id=ex.id, error=type(error).__name__)
            ex.span.event(FOREBAY_HOP_SKIPPED, {"hop": name, "error.type": type(error).__name__})
            if visit.answer is not None:
                return visit.answer
        finally:
            visit.closed = True
        return await following(ex)

    return watched


def _hop_failed(ex: Exchange, name: str, error: Exception, *, late: bool = False) -> HopFailed:
    _log.error("hop_failed", hop=name, late=late, request_id=ex.id, exc_info=None if late else error)
    return HopFailed(f"The gateway's step '{name}' {'ran late' if late else 'failed'}.")


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
