"""Answers from the semantic tier: the same tenant has asked something that means the same, in the same scope;
or its group has, and two of its tenants have got the same answer.

The semantic process decides; this hop asks it, and serves what it names only after reading it anew from the
store, where it may have expired or been purged meanwhile. It stands behind the coalescing hop, so one call of
the process serves all who ask the same at once. Whatever fails here costs a hit and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.answer import Answer
from gateway.cache_state import Asked, CacheState, SemanticHit
from gateway.config.schema import SemanticConfig
from gateway.confirmer import Confirmer
from gateway.exchange import Exchange
from gateway.explorer import Explorer
from gateway.hops.exact_cache import replay
from gateway.pipeline import Next
from semantic_cache.cache_status import age_header, hit_status
from semantic_cache.entry import Entry
from semantic_cache.errors import StoreUnavailable
from semantic_cache.freshness import Use, use_of
from semantic_cache.replay import can_serve
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Hurry, Look, Looked
from semantic_cache.semantic.question import Rules, refuse_question, text_of
from semantic_cache.store.base import Store
from telemetry import names
from telemetry.context import SAMPLED, TraceContext
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Span, Tracer


class SemanticCache:
    """Looks for an answer of another question."""

    name = "cache.semantic"

    def __init__(
        self,
        store: Store,
        client: SemanticClient,
        config: SemanticConfig,
        rules: Rules,
        explorer: Explorer,
        confirmer: Confirmer,
        tracer: Tracer,
        metrics: GatewayMetrics,
        *,
        observe: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`observe`: serve nothing, and report what would have been served."""
        self._store = store
        self._client = client
        self._error_budget = config.error_budget
        self._deadline_s = config.deadline_ms / 1000
        self._rules = rules
        self._explorer = explorer
        self._confirmer = confirmer
        self._tracer = tracer
        self._metrics = metrics
        self._observe = observe
        self._clock = clock

    async def run(self, ex: Exchange, next: Next) -> Answer:
        state = ex.cache
        # Of what a request of our own asks (is this answer right?) the words are nearly always the same, and
        # the few that differ are what it is about.
        if state is None or state.question is None or state.key is None or ex.origin is not None:
            return await next(ex)
        text = text_of(state.question)
        if reason := refuse_question(state.question, text, self._rules):
            self._metrics.semantic_decision("skip", reason)
            return await next(ex)
        assert text is not None
        state.asked = Asked(text)
        if state.looks_up and (answer := await self._look(ex, state, state.asked)) is not None:
            return answer
        return await next(ex)

    async def _look(self, ex: Exchange, state: CacheState, asked: Asked) -> Answer | None:
        span = self._tracer.start(names.CACHE_SEMANTIC, parent=ex.span)
        action, reason, answer = "miss", "unavailable", None
        try:
            looked = await self._ask(ex, state, asked)
            if looked is not None:
                _describe(span, looked)
                action, reason, answer = await self._follow(ex, state, asked, looked, span)
        except StoreUnavailable as error:
            reason = "store_unavailable"
            span.fail(type(error).__name__)
        finally:
            self._metrics.semantic_decision(action, reason)
            if span.recording:
                span.set(names.FOREBAY_SEMANTIC_STEPS, [f"{step} {ms:g}" for step, ms in asked.timings()])
            span.set(names.FOREBAY_SEMANTIC_ACTION, action)
            span.set(names.FOREBAY_SEMANTIC_REASON, reason)
            span.end()
        return answer

    async def _ask(self, ex: Exchange, state: CacheState, asked: Asked) -> Looked | None:
        assert state.key is not None and state.scope is not None and ex.view is not None
        look = Look(
            tenant=state.key.tenant,
            model=ex.view.model,
            scope=state.scope.digest,
            key=state.key.digest,
            text=asked.text,
            error_budget=self._error_budget,
            threshold=state.threshold,
            patience_s=self._deadline_s,
            group=state.scope.group,
            peers=() if state.group is None else _others(state.group.tenants, state.key.tenant),
        )
        started = time.monotonic()
        looked = await self._client.ask(look, Looked, self._deadline_s)
        seconds = time.monotonic() - started
        self._metrics.semantic_duration(seconds)
        if looked is not None:
            asked.embedder, asked.vector = looked.embedder, looked.vector
            asked.waited_ms, asked.steps = seconds * 1000, looked.steps
        return looked

    async def _follow(
        self, ex: Exchange, state: CacheState, asked: Asked, looked: Looked, span: Span
    ) -> tuple[str, str, Answer | None]:
        """Return what is done, why, and the answer if there is one."""
        assert state.key is not None
        named = looked.serve or looked.explored
        if named is None:
            return "miss", looked.reason, None
        key = ExactKey(looked.holder, named)
        servable = key.tenant == state.key.tenant or (
            state.shared is not None and key.tenant == state.shared.tenant
        )
        if not servable and (looked.serve is not None or not _is_peer(state, key.tenant)):
            # The process says so of none: whatever it mixes up, nobody is given a stranger's answer.
            return "miss", "not_replayable", None
        now = self._clock()
        started = time.monotonic()
        entry = await self._store.get(key)
        asked.reread_ms = (time.monotonic() - started) * 1000
        if entry is None or use_of(entry, state.directives, now) is not Use.FRESH:
            # The process has not heard of it yet, unless it is the caller who wants something fresher.
            self._client.tell(Hurry())
            return "miss", "gone", None
        if not self._fits(ex, key, entry):
            return "miss", "not_replayable", None
        if not servable:
            asked.compare = self._confirmer.other_question(ex, state, key)
            return "explore", looked.reason, None
        explore = self._explorer.comparing(ex, state, asked, looked.ticket, key, entry)
        if looked.serve is None:
            asked.compare = explore
            return "explore", looked.reason, None
        span.set(names.FOREBAY_SEMANTIC_SAVED_USD, entry.cost_usd)
        self._metrics.semantic_saved("observe" if self._observe else "serve", entry.cost_usd)
        if self._observe:
            # The upstream is asked anyway, so whether this would have been wrong can be seen.
            asked.compare = explore
            return "would_serve", looked.reason, None
        if entry.trace_id:
            span.link(TraceContext(entry.trace_id, entry.span_id, SAMPLED))
        span.set(names.FOREBAY_CACHE_AGE, entry.age(now))
        status, age = hit_status(entry, now, "semantic"), age_header(entry, now)
        state.take(SemanticHit(key, looked.similarity or 0.0, looked.ticket, status, age))
        answer = replay(ex, entry, now)
        answer.hit = state.hit
        return "serve", looked.reason, answer

    @staticmethod
    def _fits(ex: Exchange, key: ExactKey, entry: Entry) -> bool:
        assert ex.view is not None
        # The scope says all of this already; a store that mixes something up must not get any further.
        same = entry.endpoint == "chat" and entry.model == ex.view.model and entry.tenant == key.tenant
        return same and can_serve(entry, stream=ex.view.stream, usage_wanted=ex.view.usage_wanted)


def _others(tenants: tuple[str, ...], tenant: str) -> tuple[str, ...]:
    return tuple(other for other in tenants if other != tenant)


def _is_peer(state: CacheState, tenant: str) -> bool:
    return state.group is not None and tenant in state.group.tenants


def _describe(span: Span, looked: Looked) -> None:
    if not span.recording:
        return
    span.update(
        {
            names.FOREBAY_SEMANTIC_PROBABILITY: looked.probability,
            names.FOREBAY_SEMANTIC_BOUND: looked.bound,
            names.FOREBAY_SEMANTIC_GATES: [
                f"{place} {gate.gate} {'passed' if gate.passed else 'refused'}"
                for place, candidate in enumerate(looked.considered)
                for gate in candidate.gates
            ],
            names.FOREBAY_SEMANTIC_VERIFIER: [
                candidate.verifier for candidate in looked.considered if candidate.verifier is not None
            ],
        }
    )
    if looked.similarity is not None:
        span.set(names.FOREBAY_SEMANTIC_SIMILARITY, looked.similarity)
