"""Answers `/v1/embeddings` from the cache item by item: only inputs that are not known go to the upstream.

An item's vector is kept as the JSON value that the upstream sent: a list of numbers, or base64 text. A store
that does not answer costs hits. The hop itself fails closed: once a request is cut down to the unknown items,
the upstream's answer alone would be a wrong one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.answer import Answer
from gateway.cache_key import cache_directives, scope_of
from gateway.cache_state import CacheState
from gateway.config.schema import CacheConfig
from gateway.errors import InvalidRequest, NotInCache, UpstreamGarbage
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.wire import headers
from gateway.wire.request import read_request
from gateway.wire.splice import Edit, splice
from semantic_cache.cache_status import AGE, CACHE_STATUS, Forward, forward_status, hit_status
from semantic_cache.embeddings import join_embeddings, split_embeddings
from semantic_cache.entry import Entry
from semantic_cache.errors import NotCanonical, NotReplayable, StoreUnavailable
from semantic_cache.freshness import Use, use_of
from semantic_cache.lifetime import Lifetimes
from semantic_cache.question import items_of, read_question
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Store
from telemetry import names
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Tracer

MAX_ITEMS = 2048
"""OpenAI's own bound on the inputs of one request."""

_DECODE = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Item:
    """One input: its key, and its share of the tokens that the upstream counts for all inputs together."""

    key: ExactKey
    weight: int


class EmbeddingCache:
    """One entry an input item."""

    name = "cache.embeddings"

    def __init__(
        self,
        store: Store,
        config: CacheConfig,
        tracer: Tracer,
        metrics: GatewayMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._lifetimes = Lifetimes(config.ttl_s)
        self._tracer = tracer
        self._metrics = metrics
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for what is being stored."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def run(self, ex: Exchange, next: Next) -> Answer:
        state, items = self._prepare(ex)
        known: list[Entry | None] = [None] * len(items)
        if items and not state.directives.no_cache:
            known = await self._look_up(ex, state, items)
        if items and all(known):
            return self._all_known(ex, state, [entry for entry in known if entry is not None])
        if state.directives.only_if_cached:
            raise NotInCache("The request asks for cached vectors only, and some are not there.")
        some_known = any(known)
        why: Forward = "partial" if some_known else "miss" if items else "bypass"
        status = forward_status(why, detail=state.reason)
        ex.reply_headers |= {headers.CACHE: state.verdict, CACHE_STATUS: status}
        if some_known:
            self._ask_only_for(ex, [at for at, entry in enumerate(known) if entry is None])
        if items:
            with contextlib.suppress(StoreUnavailable):
                # As of now: what is purged meanwhile must not come back by this answer.
                state.epoch = (await self._store.epochs(ex.tenant)).now
        answer = await next(ex)
        if not items or answer.status != 200 or not isinstance(answer.body, bytes):
            return answer
        return self._complete(ex, state, items, known, answer, answer.body)

    def _prepare(self, ex: Exchange) -> tuple[CacheState, list[_Item]]:
        try:
            question = read_question("embeddings", ex.body)
            inputs = items_of(question)
        except NotCanonical as error:
            ex.cache = CacheState(cache_directives(ex, None), reason=error.reason)
            return ex.cache, []
        directives = cache_directives(ex, question.cache)
        if len(inputs) > MAX_ITEMS:
            raise InvalidRequest(f"'input' has more than {MAX_ITEMS} items.", param="input")
        scope = scope_of(ex, question, directives)
        ex.cache = CacheState(directives, verdict="miss")
        return ex.cache, [_Item(ExactKey.of(scope, item), len(item.query)) for item in inputs]

    async def _look_up(self, ex: Exchange, state: CacheState, items: list[_Item]) -> list[Entry | None]:
        span = self._tracer.start(names.CACHE_EXACT, parent=ex.span)
        try:
            found = [await self._store.get(item.key) for item in items]
        except StoreUnavailable as error:
            state.verdict, state.reason = "bypass", "store_unavailable"
            span.fail(type(error).__name__)
            return [None] * len(items)
        finally:
            span.end()
        now = self._clock()
        return [
            entry if entry is not None and use_of(entry, state.directives, now) is Use.FRESH else None
            for entry in found
        ]

    def _all_known(self, ex: Exchange, state: CacheState, entries: list[Entry]) -> Answer:
        now = self._clock()
        state.verdict, state.stored = "hit-exact", tuple(entries)
        oldest = min(entries, key=lambda entry: entry.created_at)
        soonest = min(entries, key=lambda entry: entry.expires_at)
        ex.reply_headers |= {
            headers.CACHE: state.verdict,
            CACHE_STATUS: hit_status(soonest, now),
            AGE: str(int(oldest.age(now))),
        }
        body = join_embeddings([entry.answer for entry in entries])
        return Answer(200, body, {"content-type": "application/json"})

    @staticmethod
    def _ask_only_for(ex: Exchange, places: list[int]) -> None:
        """Leave only these items in the request's `input`, which is a list if some of several are known."""
        assert ex.view is not None
        span = ex.view.spans["input"]
        value: list[Any] = _DECODE(ex.body[span.start : span.end])
        left = msgspec.json.encode([value[at] for at in places])
        ex.body = splice(ex.body, [Edit(span.start, span.end, left)])
        ex.view = read_request(ex.body, ex.endpoint)

    def _complete(
        self,
        ex: Exchange,
        state: CacheState,
        items: list[_Item],
        known: list[Entry | None],
        answer: Answer,
        body: bytes,
    ) -> Answer:
        """Put the upstream's vectors between the known ones, and keep them."""
        asked = [item for item, entry in zip(items, known, strict=True) if entry is None]
        try:
            parts = split_embeddings(body, [item.weight for item in asked])
        except NotReplayable as error:
            self._metrics.cache_admission(error.reason)
            if len(asked) == len(items):
                return answer
            # With known vectors in between, nothing would fit together.
            raise UpstreamGarbage("The upstream did not answer every input.") from None
        if not state.directives.no_store and state.reason is None:
            self._keep(ex, state, asked, parts)
        if len(asked) == len(items):
            return answer
        state.stored = tuple(entry for entry in known if entry is not None)
        fresh = iter(parts)
        merged = [next(fresh) if entry is None else entry.answer for entry in known]
        return Answer(200, join_embeddings(merged), answer.headers)

    def _keep(self, ex: Exchange, state: CacheState, asked: list[_Item], parts: list[bytes]) -> None:
        assert ex.view is not None
        now, model = self._clock(), ex.view.model
        entries = []
        for item, part in zip(asked, parts, strict=True):
            times = self._lifetimes.of(item.key.digest, now, state.directives.ttl)
            entry = Entry(
                endpoint="embeddings",
                model=model,
                answer=part,
                has_usage=True,
                created_at=times.created_at,
                expires_at=times.expires_at,
                stale_until=times.stale_until,
                tags=state.directives.tags,
                epoch=state.epoch,
                tenant=item.key.tenant,
            )
            entries.append((item.key, entry))
        task = asyncio.create_task(self._put(entries))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put(self, entries: list[tuple[ExactKey, Entry]]) -> None:
        for key, entry in entries:
            try:
                stored = await self._store.put(key, entry)
            except StoreUnavailable:
                return
            self._metrics.cache_admission("stored" if stored else "budget")
