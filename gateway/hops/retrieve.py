"""Answers a model that asks for what the compressor left out: the client sees none of that.

If the model calls the tool that was added for it, it is asked again with the result, some rounds at most; in
the last one the tool is withdrawn and marks are without ids. Calls of the client's own tools in the same
answer are dropped: the model makes them again when it has seen the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import msgspec

from gateway.answer import Answer, Events, EventStream
from gateway.compression.kept import Kept
from gateway.compression.lookup import look_up
from gateway.compression.outcome import Compression
from gateway.errors import UpstreamBroke
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.window.aside import aside
from gateway.wire.own_name import NameFilter, body_without_name
from gateway.wire.own_tool import (
    NAME,
    Asked,
    OwnCall,
    appended,
    asked_in,
    exchange,
    without_own_calls,
)
from gateway.wire.own_tool_stream import OwnToolStream, Shown
from gateway.wire.splice import Edit
from gateway.wire.usage import Outcome, UsageTap
from semantic_cache.errors import StoreUnavailable
from telemetry import names
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Tracer

ROUNDS = 3
"""Answers of the model that may ask for something; after them the tool is withdrawn."""
MOST_CALLS = 4
"""Calls in one answer that are looked up."""
_PATIENCE_S = 1.0
"""For the store, each time; it has deadlines of its own."""
_PERHAPS_OURS = (400, 413, 422)
"""What an upstream may say to a tool more, or to a prompt that grows: then it is asked without."""
# What the model reads where there is nothing to read.
_BAD_ARGUMENTS = "The arguments are not understood. Give the id of a mark, and lines or a query."
_MISSING = "Nothing is kept under this id: it is wrong, or its time is over. Go on without it."
_NOTHING = "Nothing that was left out fits: what there is of it stands in the conversation."
_UNAVAILABLE = "What was left out cannot be had at the moment. Go on without it."
_TOO_MANY = "Too many calls at once: ask again for this one."


class _Arguments(msgspec.Struct):
    id: str
    start: int | None = None
    end: int | None = None
    query: str | None = None


_ARGUMENTS = msgspec.json.Decoder(_Arguments, strict=False).decode


class Retrieve:
    """The hop between the compressor and the upstream."""

    name = "retrieve"

    def __init__(self, kept: Kept, tracer: Tracer, metrics: GatewayMetrics) -> None:
        self._kept = kept
        self._tracer = tracer
        self._metrics = metrics

    async def run(self, ex: Exchange, next: Next) -> Answer:
        if ex.compression is None or not ex.compression.with_tool:
            return await next(ex)
        rounds = _Rounds(self, ex, next, ex.compression)
        answer = await rounds.ask()
        while isinstance(answer.body, bytes):
            asked = asked_in(answer.body) if answer.status == 200 else None
            if asked is None or rounds.withdrawn:
                return _for_client(answer)
            answer = await rounds.again(asked)
        return await rounds.stream(answer)

    async def answer(self, ex: Exchange, calls: Sequence[OwnCall]) -> list[str]:
        """Return the results of calls, in their order."""
        span = self._tracer.start(names.RETRIEVE, parent=ex.span)
        outcomes: list[str] = []
        results: list[str] = []
        try:
            for number, call in enumerate(calls):
                outcome, result = "too_many", _TOO_MANY
                if number < MOST_CALLS:
                    outcome, result = await self._look_up(ex.tenant, call)
                self._metrics.retrieved(outcome)
                outcomes.append(outcome)
                results.append(result)
        finally:
            span.set(names.FOREBAY_RETRIEVE_OUTCOMES, outcomes)
            span.end()
        return results

    async def _look_up(self, tenant: str, call: OwnCall) -> tuple[str, str]:
        try:
            asked = _ARGUMENTS(call.arguments)
        except (msgspec.DecodeError, RecursionError):
            return "bad_arguments", _BAD_ARGUMENTS
        try:
            async with asyncio.timeout(_PATIENCE_S):
                spans = await self._kept.find(tenant, asked.id)
        except (StoreUnavailable, TimeoutError):
            return "unavailable", _UNAVAILABLE
        if spans is None:
            return "missing", _MISSING

        async def work() -> str | None:
            return look_up(spans, asked.start, asked.end, asked.query)

        found = await aside(sum(len(span.text) for span in spans), work)
        if found is None:
            return "nothing", _NOTHING
        return "found", found


class _Rounds:
    """The calls of the upstream for one request."""

    def __init__(self, hop: Retrieve, ex: Exchange, next: Next, made: Compression) -> None:
        self._hop = hop
        self._ex = ex
        self._next = next
        self._made = made
        self._messages = b""
        """What was asked for and found, behind the client's own messages."""
        self._retrieved = 0
        self._asked = 0
        self._seen = _Seen()
        self._stream: EventStream | None = None
        self._begun = False
        """The client has seen something."""

    @property
    def withdrawn(self) -> bool:
        """Whether the last answer was asked for without the tool."""
        return self._asked > ROUNDS

    async def ask(self) -> Answer:
        """Call the upstream with what is known; where it refuses that, with the prompt as it was before."""
        assert self._ex.view is not None
        self._asked += 1
        edits = self._made.edits if self.withdrawn else self._made.with_tool
        if self._messages:
            edits = (*edits, appended(self._ex.view, self._messages))
        answer = await self._call(edits)
        if answer.status in _PERHAPS_OURS:
            self._asked = ROUNDS + 1
            answer = await self._call(self._made.edits)
        return answer

    async def _call(self, edits: tuple[Edit, ...]) -> Answer:
        ex, made = self._ex, self._made
        ex.compression = replace(made, edits=edits, retrieved=self._retrieved)
        # What others watch is the one answer that comes of all rounds.
        observers, self._seen = ex.observers, _Seen()
        ex.observers = [self._seen]
        try:
            return await self._next(ex)
        finally:
            ex.observers = observers

    async def again(self, asked: Asked) -> Answer:
        """Call the upstream once more, with the results of what was asked."""
        results = await self._hop.answer(self._ex, asked.calls)
        self._retrieved += len(results)
        self._messages += exchange(asked, results)
        return await self.ask()

    async def stream(self, answer: Answer) -> Answer:
        """Return the one stream that comes of this answer and of those to further calls."""
        ex = self._ex
        stream = EventStream(self._events(answer), self._close)
        try:
            if not await stream.prime():
                raise UpstreamBroke("The upstream sent an empty stream.")
        except _Refused as refused:
            return _for_client(refused.answer)
        for observer in ex.observers:
            stream.tap(observer)
        if ex.calls[-1].usage_added:
            stream.tap(UsageTap(Outcome(), remove=True))
        return ex.keep(replace(answer, body=stream))

    async def _events(self, answer: Answer) -> AsyncIterator[Events]:
        shown, said = Shown(), NameFilter()
        while True:
            if not isinstance(answer.body, EventStream):
                if not self._begun:
                    raise _Refused(answer)
                raise UpstreamBroke("The upstream went on with something that is no stream.")
            self._stream = answer.body
            own = OwnToolStream(shown, withdrawn=self.withdrawn)
            async for _ in answer.body:
                yield self._noted(said.feed(own.feed(self._seen.take())))
            rest = said.feed([*own.feed(self._seen.take()), *own.finish()])
            yield self._noted([*rest, *said.finish()])
            asked = own.asked()
            if asked is None:
                return
            answer = await self.again(asked)

    def _noted(self, events: Events) -> Events:
        self._begun |= bool(events)
        return events

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close(self._ex.error or self._ex.why_cancelled())


def _for_client(answer: Answer) -> Answer:
    """Return a whole answer without our tool."""
    body = answer.body
    if not isinstance(body, bytes) or NAME.encode() not in body:
        return answer
    if answer.status == 200 and asked_in(body) is not None:
        body = without_own_calls(body)
    return replace(answer, body=body_without_name(body))


class _Refused(Exception):
    """A later call was answered by something else than a stream, and the client has seen nothing yet."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class _Seen:
    """Hands on what the upstream sent, before anything is taken out of it."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: Events = []

    def feed(self, events: Events) -> Events:
        self._events += events
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        """Nothing is held."""

    def take(self) -> Events:
        """Return what has come since the last time."""
        taken, self._events = self._events, []
        return taken
