"""The workers of a gateway: started, watched, replaced, switched to a new configuration together, and asked.

A worker that ends is replaced after a pause that grows while replacements keep ending; meanwhile siblings
accept from its socket. If workers end before any of them has served, something is wrong that a further try
will not mend, and the gateway gives up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from gateway.engines import Generation
from gateway.errors import GatewayError
from gateway.link import Link
from gateway.messages import (
    Accept,
    Answered,
    AskMetrics,
    AskSettled,
    Finish,
    Forget,
    Message,
    NotReady,
    Prepare,
    Prepared,
    Question,
    Refused,
    Reply,
    Retired,
    Serving,
    Switch,
)
from gateway.upstreams.engine_process import RestartPauses
from gateway.worker_process import Running, StartWorker
from telemetry.metrics.merge import Snapshot, cumulative, merge, snapshot
from telemetry.metrics.supervisor import SupervisorMetrics

START_S = 60.0
"""A worker that has not said in this time whether it can serve never will."""
START_TRIES = 5
"""Ends before anyone has served, after which there is no further try."""
_PAUSES = RestartPauses(first=0.1, last=30.0, stable=10.0)
_ANSWER_S = 1.0
_LEAVE_S = 5.0
MessageOf = Callable[[Generation], Prepare]
_log = structlog.get_logger("gateway.workers")


class Member:
    """One started worker, as the supervisor sees it."""

    def __init__(self, slot: int, link: Link, running: Running) -> None:
        self.slot = slot
        self.link = link
        self.running = running
        self.generation: int | None = None
        self.holding: dict[int, Generation] = {}
        """The generations whose requests it may still be answering."""
        self.serving = False
        self.gone = False
        self.refusal: str | None = None
        self.accepting: frozenset[int] = frozenset()
        self.counted: Snapshot = []
        self._verdicts: dict[int, asyncio.Future[str | None]] = {}
        self._catching_up = asyncio.Lock()

    async def prepare(self, generation: Generation, message: MessageOf) -> str | None:
        """Return why the worker refuses a generation. One that is gone refuses nothing."""
        if self.gone:
            return None
        verdict = self._verdicts.get(generation.number)
        if verdict is None:
            verdict = self._verdicts[generation.number] = asyncio.get_running_loop().create_future()
        self.holding[generation.number] = generation
        # Made only now: what it tells of the engines must not overtake, or be overtaken by, EngineChanged.
        self.link.send(message(generation))
        return await asyncio.shield(verdict)

    def switch(self, generation: Generation) -> None:
        """Let the worker answer under a generation that it has prepared."""
        self.generation = generation.number
        self.link.send(Switch(generation.number))

    def forget(self, generation: Generation) -> None:
        """Let the worker take a prepared generation down again."""
        self.holding.pop(generation.number, None)
        self.link.send(Forget(generation.number))

    def judged(self, generation: int, why: str | None) -> None:
        """The worker has answered to Prepare."""
        verdict = self._verdicts.pop(generation, None)
        if verdict is not None and not verdict.done():
            verdict.set_result(why)

    def left(self) -> None:
        """The worker has gone."""
        self.gone, self.serving = True, False
        self.holding.clear()
        for generation in list(self._verdicts):
            self.judged(generation, None)


class Workers:
    """`count` workers on as many sockets."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        start: StartWorker,
        first: Generation,
        message: MessageOf,
        metrics: SupervisorMetrics,
        *,
        pauses: RestartPauses = _PAUSES,
    ) -> None:
        """`message` turns a generation into what a worker is told of it at this moment."""
        self.current = first
        self.all_serving = asyncio.Event()
        self.released: Callable[[], None] = lambda: None
        """Called whenever a worker has let go of a generation."""
        self._sockets = sockets
        self._start = start
        self._message = message
        self._metrics = metrics
        self._pauses = pauses
        self._members: set[Member] = set()
        self._slots: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired: Snapshot = []
        self._leaving = False
        self._finishing = False
        self._served_once = False
        self._failed_starts = 0
        metrics.workers.set_function(lambda: len(self._serving()))

    def start(self) -> None:
        """Start all workers."""
        self._slots = [asyncio.create_task(self._keep(slot)) for slot in range(len(self._sockets))]

    async def ended(self) -> None:
        """Wait until no worker is left. Raises GatewayError if there is no use in starting another one."""
        await asyncio.gather(*self._slots)

    def tell(self, message: Message) -> None:
        """Send a message to every worker."""
        for member in self._members:
            member.link.send(message)

    def engines_in_use(self) -> set[int]:
        """Return the numbers of the engines that some request may still need."""
        held = [self.current, *(held for member in self._members for held in member.holding.values())]
        return {number for generation in held for number in generation.engines.values()}

    def semantics_in_use(self) -> set[int]:
        """Return the numbers of the semantic processes that some request may still ask."""
        held = [self.current, *(held for member in self._members for held in member.holding.values())]
        return {generation.semantic for generation in held if generation.semantic is not None}

    async def take_over(self, following: Generation) -> str | None:
        """Switch all workers to a generation, or none; returns why one of them refuses it."""
        members = list(self._members)
        verdicts = await asyncio.gather(*(member.prepare(following, self._message) for member in members))
        if refusal := next((why for why in verdicts if why), None):
            for member in members:
                member.forget(following)
            return refusal
        self.current = following
        for member in members:
            member.switch(following)
        for member in self._members.difference(members):
            self._in_background(self._catch_up(member))
        return None

    def not_ready(self) -> None:
        """Let balancers know that this gateway is about to leave."""
        self._leaving = True
        self.tell(NotReady())

    async def finish(self, drain_s: float) -> None:
        """Let every worker end its requests for at most `drain_s` seconds, and leave."""
        self._finishing = True
        for task, member in zip(self._slots, self._by_slot(), strict=True):
            if member is None:
                # Between two tries.
                task.cancel()
        self.tell(Finish(drain_s))
        _, late = await asyncio.wait(self._slots, timeout=drain_s + _LEAVE_S)
        await self.kill()
        if late:
            await asyncio.wait(late, timeout=_LEAVE_S)

    async def kill(self) -> None:
        """End what is left at once."""
        self._finishing = True
        for member in self._members:
            member.running.kill()
        for task in self._tasks:
            task.cancel()
        for task in self._slots:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._slots, return_exceptions=True)

    async def metrics(self) -> Snapshot:
        """Return what all workers have counted, those that have died and the supervisor included.

        Of a worker that has died or does not answer the last known counts are used: a sum that went down
        would be read as a restart, and its whole value be counted again.
        """

        async def ask(member: Member) -> None:
            with contextlib.suppress(TimeoutError):
                reply = await member.link.ask(AskMetrics(), _ANSWER_S)
                assert isinstance(reply, list)
                member.counted = reply

        await asyncio.gather(*(ask(member) for member in self._serving()))
        living = [member.counted for member in self._members]
        return merge([snapshot(self._metrics.registry), self._retired, *living])

    async def _keep(self, slot: int) -> None:
        pause = self._pauses.first
        while True:
            since = time.monotonic()
            member = await self._launch(slot)
            served, status = await self._live(member)
            if self._finishing:
                return
            if member.refusal is not None and not self._served_once:
                raise GatewayError(member.refusal)
            if not served:
                self._failed_starts += 1
                if self._failed_starts >= START_TRIES and not self._serving():
                    raise GatewayError(
                        f"workers ended {self._failed_starts} times before they could serve, the last one "
                        f"with status {status}; the log says why"
                    )
            if served and time.monotonic() - since >= self._pauses.stable:
                pause = self._pauses.first
            self._metrics.restarts.inc()
            pid = member.running.pid
            _log.error("worker_ended", worker=slot, pid=pid, status=status, next_try_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._pauses.last)

    async def _launch(self, slot: int) -> Member:
        ours, theirs = socket.socketpair()
        link = await Link.over(ours)
        try:
            running = await self._start(theirs, self._sockets)
        except BaseException:
            link.close()
            raise
        member = Member(slot, link, running)
        self._members.add(member)
        self._in_background(self._bring_up(member))
        return member

    async def _bring_up(self, member: Member) -> None:
        try:
            async with asyncio.timeout(START_S):
                await self._catch_up(member)
        except TimeoutError:
            _log.error("worker_did_not_start", worker=member.slot, pid=member.running.pid)
            member.running.kill()
        else:
            if self._leaving:
                member.link.send(NotReady())
            self._accept(member, frozenset({member.slot}))

    async def _catch_up(self, member: Member) -> None:
        async with member._catching_up:
            while member.generation != self.current.number and not member.gone:
                generation = self.current
                member.refusal = await member.prepare(generation, self._message)
                if member.refusal is not None:
                    member.link.close()
                    return
                member.switch(generation)

    async def _live(self, member: Member) -> tuple[bool, int]:
        """Listen to a worker until it is gone; returns whether it has served, and its exit status."""
        served = False
        try:
            async for message in member.link.messages():
                served = served or isinstance(message, Serving)
                self._hear(member, message)
            try:
                async with asyncio.timeout(_LEAVE_S):
                    status = await member.running.wait()
            except TimeoutError:
                member.running.kill()
                status = await member.running.wait()
        finally:
            self._members.discard(member)
            member.left()
            member.link.close()
            self._retired = merge([self._retired, cumulative(member.counted)])
            self._share_out()
            self.released()
        return served, status

    def _hear(self, member: Member, message: Message) -> None:
        match message:
            case Prepared(generation):
                member.judged(generation, None)
            case Refused(generation, why):
                member.judged(generation, why)
            case Serving():
                if not member.serving:
                    member.serving = self._served_once = True
                    self._failed_starts = 0
                    self._share_out()
            case Retired(generation):
                member.holding.pop(generation, None)
                self.released()
            case Question():
                self._in_background(self._answer(member, message))
            case _:
                raise AssertionError(message)

    def _share_out(self) -> None:
        """Give every socket to its own worker, or to a sibling while it has none."""
        serving = sorted(self._serving(), key=lambda member: member.slot)
        if not serving or self._finishing:
            return
        own = {member.slot: member for member in serving}
        slots: dict[Member, set[int]] = {member: set() for member in serving}
        for slot in range(len(self._sockets)):
            slots[own.get(slot, serving[slot % len(serving)])].add(slot)
        for member, accepted in slots.items():
            self._accept(member, frozenset(accepted))
        if len(serving) == len(self._sockets):
            self.all_serving.set()

    def _accept(self, member: Member, slots: frozenset[int]) -> None:
        if slots != member.accepting and not member.gone and not self._finishing:
            member.accepting = slots
            member.link.send(Accept(slots))

    async def _answer(self, member: Member, question: Question) -> None:
        reply: Reply = None
        match question.subject:
            case AskMetrics():
                reply = await self.metrics()
            case AskSettled():
                others = [other for other in self._serving() if other is not member]
                reply = await _first(others, question.subject)
        member.link.send(Answered(question.number, reply))

    def _serving(self) -> list[Member]:
        return [member for member in self._members if member.serving]

    def _by_slot(self) -> list[Member | None]:
        by_slot = {member.slot: member for member in self._members}
        return [by_slot.get(slot) for slot in range(len(self._sockets))]

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _first(members: Sequence[Member], subject: AskSettled) -> Reply:
    """Return the first answer that is not None."""

    async def ask(member: Member) -> Reply:
        with contextlib.suppress(TimeoutError):
            return await member.link.ask(subject, _ANSWER_S)
        return None

    for answer in asyncio.as_completed([ask(member) for member in members]):
        if (reply := await answer) is not None:
            return reply
    return None
