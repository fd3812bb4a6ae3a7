"""Answers from the exact tier of the cache: the same request, by the same tenant, has been answered before.

Or by another one of its group, if two of them have got that answer; the tenant's own goes first.

Fails open: a store that does not answer costs a hit and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache

from gateway.answer import Answer, Events, EventStream
from gateway.cache_key import cache_directives, scope_of
from gateway.cache_state import ANSWER_ENDPOINTS, CacheState
from gateway.config.schema import CacheConfig
from gateway.errors import NotInCache
from gateway.exchange import Exchange
from gateway.groups import Groups
from gateway.pipeline import Next
from gateway.wire import headers
from gateway.wire.sse import data_event
from semantic_cache.admission import refuse_request
from semantic_cache.cache_status import (
    AGE,
    CACHE_STATUS,
    Forward,
    age_header,
    forward_status,
    hit_status,
)
from semantic_cache.entry import Entry
from semantic_cache.errors import NotCanonical, StoreUnavailable
from semantic_cache.freshness import Use, use_of
from semantic_cache.question import read_question
from semantic_cache.replay import can_serve, replay_body, replay_events
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Store
from telemetry import names
from telemetry.context import SAMPLED, TraceContext
from telemetry.spans import Tracer


class ExactCache:
    """Looks a request up, and says what became of it in the answer's headers."""

    name = "cache.exact"

    def __init__(
        self,
        store: Store,
        config: CacheConfig,
        tracer: Tracer,
        refresh: Callable[[Exchange, ExactKey], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`refresh` fetches a stale request's answer anew in the background."""
        self._store = store
        self._sampled = config.sampled
        self._groups = Groups(config.shared)
        self._tracer = tracer
        self._refresh = refresh
        self._clock = clock

    async def run(self, ex: Exchange, next: Next) -> Answer:
        state = ex.cache = self._state(ex)
        if state.looks_up and (answer := await self._look_up(ex, state)) is not None:
            return answer
        if state.directives.only_if_cached:
            raise NotInCache("The request asks for a cached answer only, and there is none.")
        self._note_forward(ex, state)
        answer = await next(ex)
        # Only now is it known whether the request went to the upstream or joined another.
        self._note_forward(ex, state)
        return answer

    def _state(self, ex: Exchange) -> CacheState:
        try:
            question = read_question(ANSWER_ENDPOINTS[ex.endpoint], ex.body)
        except NotCanonical as error:
            directives = cache_directives(ex, None)
            return CacheState(directives, reason=error.reason)
        directives = cache_directives(ex, question.cache)
        if reason := refuse_request(question, self._sampled):
            return CacheState(directives, reason=reason)
        group = None if directives.stays_alone else self._groups.find(ex.tenant, question.model)
        scope = scope_of(ex, question, directives, group)
        key = ExactKey.of(scope, question)
        return CacheState(
            directives,
            key,
            verdict="miss",
            scope=scope,
            question=question,
            threshold=headers.similarity_threshold(ex.headers),
            group=group,
            shared=None if group is None else key.held_by(scope.group),
        )

    async def _look_up(self, ex: Exchange, state: CacheState) -> Answer | None:
        assert state.key is not None and ex.view is not None
        span = self._tracer.start(names.CACHE_EXACT, parent=ex.span)
        try:
            now = self._clock()
            state.holder, use = state.key.tenant, Use.NO
            entry = await self._store.get(state.key)
            if entry is not None:
                use = self._use_of(ex, state, entry, now)
            if state.shared is not None and use is not Use.FRESH:
                other = await self._store.get(state.shared)
                found = Use.NO if other is None else self._use_of(ex, state, other, now)
                if found is Use.FRESH or use is Use.NO:
                    entry, use, state.holder = other, found, state.shared.tenant
            if entry is None or use is Use.NO:
                # What the upstream answers now will be the tenant's own.
                state.holder = state.key.tenant
                return None
            if entry.trace_id:
                span.link(TraceContext(entry.trace_id, entry.span_id, SAMPLED))
            if use is Use.STALE:
                state.verdict = "stale"
                self._refresh(ex, state.key)
            else:
                state.verdict = "hit-exact"
            if (sharing := _sharing(state)) is not None:
                span.set(names.FOREBAY_CACHE_SHARING, sharing)
            span.set(names.FOREBAY_CACHE_AGE, entry.age(now))
            self._note_hit(ex, state, entry, now)
            return replay(ex, entry, now)
        except StoreUnavailable as error:
            state.key, state.reason, state.verdict = None, "store_unavailable", "bypass"
            span.fail(type(error).__name__)
            return None
        finally:
            span.set(names.FOREBAY_CACHE_VERDICT, state.verdict)
            span.end()

    @staticmethod
    def _use_of(ex: Exchange, state: CacheState, entry: Entry, now: float) -> Use:
        assert ex.view is not None
        if not can_serve(entry, stream=ex.view.stream, usage_wanted=ex.view.usage_wanted):
            return Use.NO
        return use_of(entry, state.directives, now)

    def _note_hit(self, ex: Exchange, state: CacheState, entry: Entry, now: float) -> None:
        sent = ex.reply_headers
        sent[headers.CACHE] = state.verdict
        sent[CACHE_STATUS] = hit_status(entry, now, _sharing(state))
        sent[AGE] = age_header(entry, now)

    def _note_forward(self, ex: Exchange, state: CacheState) -> None:
        if (hit := state.hit) is not None:
            ex.reply_headers |= {
                headers.CACHE: state.verdict,
                headers.SIMILARITY: f"{hit.similarity:.4f}",
                CACHE_STATUS: hit.status,
                AGE: hit.age,
            }
            return
        why: Forward = "miss"
        if state.key is None:
            why = "bypass"
        elif not state.looks_up:
            why = "request"
        ex.reply_headers[headers.CACHE] = state.verdict
        ex.reply_headers[CACHE_STATUS] = _forward_status(why, state.verdict == "coalesced", state.reason)


def _sharing(state: CacheState) -> str | None:
    """Return whose an answer in a shared scope is: the group's, or the tenant's own."""
    if state.shared is None:
        return None
    return "confirmed" if state.holder == state.shared.tenant else "quarantined"


@lru_cache(64)
def _forward_status(why: Forward, collapsed: bool, reason: str | None) -> str:
    return forward_status(why, collapsed=collapsed, detail=reason)


def replay(ex: Exchange, entry: Entry, now: float) -> Answer:
    """Return a stored answer as the request wants it: whole, or as a stream."""
    assert ex.view is not None
    if ex.cache is not None:
        ex.cache.stored = (entry,)
    if not ex.view.stream:
        body = replay_body(entry, now)
        return Answer(200, body, {"content-type": "application/json"}, stored=entry)
    events = [data_event(data) for data in replay_events(entry, now, usage_wanted=ex.view.usage_wanted)]
    stream = EventStream(_all_at_once(events), lambda: None)
    return Answer(200, stream, {"content-type": "text/event-stream; charset=utf-8"}, stored=entry)


async def _all_at_once(events: Events) -> AsyncIterator[Events]:
    yield events
