"""Stores what a request caused the upstream to answer, once the answer is complete and found fit.

It stands behind the coalescing hop, so it belongs to the call and not to any one of those who wait for it:
what is stored does not depend on who stayed to the end. Storing never delays the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.answer import Answer, Events
from gateway.cache_state import ANSWER_ENDPOINTS, CacheState
from gateway.config.schema import CacheConfig
from gateway.confirmer import Confirmer
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.settlement import cost_of
from semantic_cache.admission import DEFAULT_MAX_BYTES, STORED, Verdict, judge_body, judge_stream
from semantic_cache.assemble import Recording
from semantic_cache.entry import Entry
from semantic_cache.errors import StoreUnavailable
from semantic_cache.lifetime import Lifetimes
from semantic_cache.record import Record
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Hurry
from semantic_cache.semantic.question import Rules, refuse_answer
from semantic_cache.store.base import Store
from telemetry.metrics import GatewayMetrics

_PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Semantic:
    """What the semantic tier has to say about storing."""

    client: SemanticClient
    rules: Rules


class StoreAnswer:
    """Judges answers and keeps the fit ones."""

    name = "cache.store"

    def __init__(
        self,
        store: Store,
        config: CacheConfig,
        metrics: GatewayMetrics,
        semantic: Semantic | None = None,
        confirmer: Confirmer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`semantic` says which answers may serve other questions, `confirmer` which may serve other tenants;
        without them, none."""
        self._semantic = semantic
        self._confirmer = confirmer
        self._store = store
        self._lifetimes = Lifetimes(config.ttl_s, config.stale_s)
        self._metrics = metrics
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, ex: Exchange, next: Next) -> Answer:
        state = ex.cache
        if state is None or not state.stores or ex.view is None:
            return await next(ex)
        endpoint = ANSWER_ENDPOINTS[ex.endpoint]
        with contextlib.suppress(StoreUnavailable):
            assert state.key is not None
            # As of now: what is purged while the upstream answers must not come back by its answer.
            state.epoch = (await self._store.epochs(state.key.tenant)).now
        if ex.view.stream:
            # Before anything is taken out of the stream: an entry has the usage whoever asked for it.
            ex.observers.append(_Recorder(lambda judge: self._keep(ex, state, judge), endpoint))
        answer = await next(ex)
        if isinstance(answer.body, bytes):
            body = answer.body
            self._keep(ex, state, lambda: judge_body(endpoint, answer.status, body))
        return answer

    async def close(self) -> None:
        """Wait for what is being stored."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _keep(self, ex: Exchange, state: CacheState, judge: Callable[[], Verdict]) -> None:
        state.kept = asyncio.create_task(self._judge_and_put(ex, state, judge))
        self._tasks.add(state.kept)
        state.kept.add_done_callback(self._tasks.discard)

    async def _judge_and_put(self, ex: Exchange, state: CacheState, judge: Callable[[], Verdict]) -> None:
        assert state.key is not None and ex.view is not None
        verdict = judge()
        outcome = verdict.reason
        if verdict.stored and any(call.fitted is not None and call.fitted.partial for call in ex.calls):
            # Whoever asks again may get one for which everything has been read.
            outcome = _PARTIAL
        elif verdict.stored:
            entry = self._entry(ex, state, verdict)
            record = self._record(state, entry)
            with contextlib.suppress(StoreUnavailable):
                kept = await self._store.put(state.key, entry, record)
                outcome = STORED if kept else "budget"
                if kept and record is not None and self._semantic is not None:
                    self._semantic.client.tell(Hurry())
            if state.shared is not None and self._confirmer is not None:
                self._confirmer.same_question(ex, state, verdict.answer)
            if state.asked is not None and state.asked.compare is not None:
                state.asked.compare(verdict.answer)
        self._metrics.cache_admission(outcome)

    def _record(self, state: CacheState, entry: Entry) -> Record | None:
        """Return what lets the answer serve other questions, if it may."""
        asked = state.asked
        if self._semantic is None or asked is None or state.scope is None:
            return None
        reason = refuse_answer(entry.answer, self._semantic.rules)
        self._metrics.semantic_admission(reason or STORED)
        if reason is not None:
            return None
        return Record(
            scope=state.scope.digest,
            text=asked.text,
            model=entry.model,
            embedder=asked.embedder,
            vector=asked.vector,
            stale_until=entry.stale_until,
            tags=entry.tags,
            epoch=entry.epoch,
        )

    def _entry(self, ex: Exchange, state: CacheState, verdict: Verdict) -> Entry:
        assert state.key is not None and ex.view is not None
        times = self._lifetimes.of(state.key.digest, self._clock(), state.directives.ttl)
        producer = ex.calls[-1].span if ex.calls else None
        seconds = ex.calls[-1].seconds() if ex.calls else 0.0
        return Entry(
            endpoint=ANSWER_ENDPOINTS[ex.endpoint],
            model=ex.view.model,
            answer=verdict.answer,
            has_usage=verdict.has_usage,
            created_at=times.created_at,
            expires_at=times.expires_at,
            stale_until=times.stale_until,
            trace_id=producer.trace_id if producer else "",
            span_id=producer.span_id if producer else "",
            tags=state.directives.tags,
            epoch=state.epoch,
            tenant=state.key.tenant,
            cost_usd=cost_of(ex) or 0.0,
            cost_s=seconds,
        )


class _Recorder:
    """Keeps a stream's data while it passes."""

    __slots__ = ("_endpoint", "_keep", "_recording")

    def __init__(self, keep: Callable[[Callable[[], Verdict]], None], endpoint: str) -> None:
        self._keep = keep
        self._endpoint = endpoint
        self._recording = Recording(DEFAULT_MAX_BYTES)

    def feed(self, events: Events) -> Events:
        for event in events:
            if event.data is not None:
                self._recording.feed(event.data)
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        endpoint, recording = self._endpoint, self._recording
        self._keep(lambda: judge_stream(endpoint, 200, recording, disconnected=error is not None))
