"""Lets the model ask for what the compressor left out, and answers it: the client sees none of that.

Only where the caller uses tools anyway. What is missing is kept in the store before the prompt is sent; then
its marks carry an id, and a tool is added that takes it. If the model calls that tool, it is asked again with
the result, some rounds at most; in the last one the tool is withdrawn and its marks are without ids. Calls of
the client's own tools in the same answer are dropped: the model makes them again when it has seen the result.

Fails open: without the store the prompt goes as the compressor made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import structlog

from gateway.answer import Answer, Events, EventStream
from gateway.compression.compress import Changed
from gateway.compression.kept import Kept
from gateway.compression.lookup import look_up
from gateway.compression.outcome import BYTES_PER_TOKEN, Compression
from gateway.errors import UpstreamBroke
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.wire.own_tool import (
    NAME,
    TOOL,
    Asked,
    OwnCall,
    appended,
    asked_in,
    exchange,
    injection,
    without_own_calls,
)
from gateway.wire.own_tool_stream import OwnToolStream, Shown
from gateway.wire.request import Endpoint
from gateway.wire.splice import Edit
from gateway.wire.usage import Outcome, UsageTap
from semantic_cache.errors import StoreUnavailable
from telemetry import names
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Tracer

_log = structlog.get_logger("gateway.compression")
ROUNDS = 3
"""Answers of the model that may ask for something; after them the tool is withdrawn."""
MOST_CALLS = 8
"""Calls in one answer that are looked up."""
_PATIENCE_S = 1.0
"""For the store, each time; it has deadlines of its own."""
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


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a request's prompts are made."""

    plain: Compression
    """As the compressor made it."""
    edits: tuple[Edit, ...]
    """The same with ids in the marks, and the tool."""


class Retrieve:
    """The hop between the compressor and the upstream."""

    name = "retrieve"

    def __init__(self, kept: Kept, tracer: Tracer, metrics: GatewayMetrics) -> None:
        self._kept = kept
        self._tracer = tracer
        self._metrics = metrics

    async def run(self, ex: Exchange, next: Next) -> Answer:
        plan = await self._plan(ex)
        if plan is None:
            return await next(ex)
        rounds = _Rounds(self, ex, next, plan)
        answer = await rounds.ask()
        while isinstance(answer.body, bytes):
            asked = asked_in(answer.body) if answer.status == 200 else None
            if asked is None:
                return answer
            if rounds.withdrawn:
                return replace(answer, body=without_own_calls(answer.body))
            answer = await rounds.again(asked)
        return await rounds.stream(answer)

    async def _plan(self, ex: Exchange) -> _Plan | None:
        made = ex.compression
        if made is None or not made.dropped or ex.endpoint is not Endpoint.CHAT or ex.view is None:
            return None
        tool = injection(ex.body, ex.view)
        if tool is None:
            return None
        edits = {edit.start: edit for edit in made.edits}
        changed = [change for change in made.dropped if change.text.start in edits]
        try:
            async with asyncio.timeout(_PATIENCE_S):
                texts = await asyncio.gather(*(self._keep(ex, change) for change in changed))
        except (StoreUnavailable, TimeoutError):
            self._metrics.retrieved("unavailable")
            return None
        kept = False
        for change, text in zip(changed, texts, strict=True):
            if text is None:
                continue
            edit = Edit(change.text.start, change.text.end, msgspec.json.encode(text))
            if len(edit.text) < edit.end - edit.start:
                edits[edit.start], kept = edit, True
        more = sum(len(edit.text) for edit in edits.values()) - sum(len(edit.text) for edit in made.edits)
        saved = (made.tokens_before - made.tokens_after) * BYTES_PER_TOKEN
        # The tool is part of the prompt: it must not cost more than was saved.
        if not kept or saved <= more + len(TOOL):
            return None
        return _Plan(made, (*edits.values(), tool))

    async def _keep(self, ex: Exchange, change: Changed) -> str | None:
        assert ex.view is not None
        return await self._kept.keep(ex.tenant, ex.view.model, change.text.value, change.value, NAME)

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
        found = look_up(spans, asked.start, asked.end, asked.query)
        if found is None:
            return "nothing", _NOTHING
        return "found", found


class _Rounds:
    """The calls of the upstream for one request."""

    def __init__(self, hop: Retrieve, ex: Exchange, next: Next, plan: _Plan) -> None:
        self._hop = hop
        self._ex = ex
        self._next = next
        self._plan = plan
        self._messages = b""
        """What was asked for and found, behind the client's own messages."""
        self._retrieved = 0
        self._asked = 0
        self._seen = _Seen()
        self._stream: EventStream | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether the last answer was asked for without the tool."""
        return self._asked > ROUNDS

    async def ask(self) -> Answer:
        """Call the upstream with what is known."""
        ex, plan = self._ex, self._plan
        assert ex.view is not None
        self._asked += 1
        edits = plan.plain.edits if self.withdrawn else plan.edits
        if self._messages:
            edits = (*edits, appended(ex.view, self._messages))
        ex.compression = replace(plan.plain, edits=edits, retrieved=self._retrieved)
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
            answer = refused.answer
            if isinstance(body := answer.body, bytes) and answer.status == 200 and asked_in(body):
                return replace(answer, body=without_own_calls(body))
            return answer
        for observer in ex.observers:
            stream.tap(observer)
        if ex.calls[-1].usage_added:
            stream.tap(UsageTap(Outcome(), remove=True))
        return ex.keep(replace(answer, body=stream))

    async def _events(self, answer: Answer) -> AsyncIterator[Events]:
        shown = Shown()
        while True:
            if not isinstance(answer.body, EventStream):
                if shown.same is None:
                    raise _Refused(answer)
                raise UpstreamBroke("The upstream went on with something that is no stream.")
            self._stream = answer.body
            own = OwnToolStream(shown, withdrawn=self.withdrawn)
            async for _ in answer.body:
                yield own.feed(self._seen.take())
            yield [*own.feed(self._seen.take()), *own.finish()]
            asked = own.asked()
            if asked is None:
                return
            answer = await self.again(asked)

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close(self._ex.error or self._ex.why_cancelled())


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
