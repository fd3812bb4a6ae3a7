"""The hops behind the routing of a request, in their order: cache, cascade, prompt, upstream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.compression.kept import Kept
from gateway.compression.perplexity.scorer import Scorer
from gateway.config.schema import CacheConfig, Config
from gateway.confirmer import Confirmer
from gateway.drain import Drain
from gateway.exchange import Route
from gateway.hops.cascade import Cascade
from gateway.hops.coalesce import Coalesce
from gateway.hops.compress import Compress
from gateway.hops.embedding_cache import EmbeddingCache
from gateway.hops.exact_cache import ExactCache
from gateway.hops.fit import Fit
from gateway.hops.keep_left_out import KeepLeftOut
from gateway.hops.learn_route import HearTier, WatchRoute
from gateway.hops.retrieve import Retrieve
from gateway.hops.store_answer import StoreAnswer
from gateway.hops.upstream import CallUpstream
from gateway.pipeline import OnFailure, Pipeline, Step
from gateway.refresh import Refresher
from gateway.routing.live import LiveRoutes
from gateway.semantic_tier import SemanticTier
from gateway.subrequests import Subrequests
from gateway.window.fitting import Ways
from gateway.window.ranking import Ranking
from gateway.window.strategies import strategies
from gateway.window.windows import Windows
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.store.base import Budget, Store, StoreEvent
from semantic_cache.store.open import open_store
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Tracer

if TYPE_CHECKING:
    from gateway.hops.share_calls import ShareCalls

_MIB = 1024 * 1024
_CACHE_DEADLINE_S = 2.0
"""A store has deadlines of its own; this one is for what they do not foresee."""
_COMPRESS_PATIENCE_S = 2.0
"""Beyond the deadline for ranking; the same."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the hops of one configuration have in common."""

    config: Config
    tracer: Tracer
    metrics: GatewayMetrics
    drain: Drain
    call: CallUpstream
    find: Callable[[str], Route]
    """Where a request for a model would go."""
    scorer: Callable[[str], Scorer]
    """How a model tells how surprising texts are."""
    windows: Windows
    live: LiveRoutes
    subrequests: Subrequests


@dataclass(frozen=True, slots=True)
class Chain:
    """The hops, and what must be closed with them."""

    answers: Sequence[Step]
    """For requests whose answer is a text."""
    embeddings: Sequence[Step]
    refresher: Refresher
    keepers: Sequence[StoreAnswer | EmbeddingCache]
    fleet: ShareCalls | None
    confirmer: Confirmer | None
    store: Store | None
    tier: SemanticTier | None

    @classmethod
    def of(cls, parts: Parts, socket: str | None) -> Chain:
        """Return the hops of a configuration; without a cache they only lead to the upstream.

        `socket` is that of the semantic process, if there is one.
        """
        refresher, settings, metrics = Refresher(), parts.config.cache, parts.metrics
        if settings is None:
            return cls(
                _behind_the_cache(parts, None, None),
                [Step(parts.call)],
                refresher,
                (),
                None,
                None,
                None,
                None,
            )

        def on_event(event: StoreEvent, count: int) -> None:
            metrics.cache_store_event(event.value, count)

        budget = Budget(settings.max_entries, settings.max_mb * _MIB)
        store = open_store(settings.store.reveal(), budget, on_event=on_event)
        rest: list[Step] = []
        tier = None
        if settings.semantic is not None and socket is not None:
            tier = SemanticTier(
                settings.semantic, store, socket, parts.tracer, metrics, settings.mode, parts.subrequests
            )
            # It has its own deadline for the process; the rest is for the store.
            patience_s = _CACHE_DEADLINE_S + settings.semantic.deadline_ms / 1000
            rest.append(Step(tier.hop, OnFailure.OPEN, patience_s))
        if (fleet := _fleet(store, settings, metrics, parts.drain)) is not None:
            # Behind the semantic tier: what it answers itself needs no lease.
            rest.append(Step(fleet))
        confirmer = Confirmer(store, None, None, metrics) if tier is None else tier.confirmer
        keeper = StoreAnswer(store, settings, metrics, None if tier is None else tier.storing, confirmer)
        client = None if tier is None else tier.client
        rest += [Step(keeper, OnFailure.OPEN), *_behind_the_cache(parts, Kept(store, settings.ttl_s), client)]
        look_up = ExactCache(store, settings, parts.tracer, refresher.start)
        answers = [
            # A store that is read on the event loop never waits, so no clock could interrupt it.
            Step(look_up, OnFailure.OPEN, _CACHE_DEADLINE_S if store.waits else None),
            # It runs the rest itself, outside of any one request, unless a request is to go alone.
            Step(Coalesce(Pipeline(rest))),
            *rest,
        ]
        vectors = EmbeddingCache(store, settings, parts.tracer, metrics)
        embeddings = [Step(vectors), Step(parts.call)]
        return cls(answers, embeddings, refresher, (keeper, vectors), fleet, confirmer, store, tier)

    def start(self) -> None:
        """Begin to follow other gateways, and to look for the semantic process."""
        if self.fleet is not None:
            self.fleet.start()
        if self.tier is not None:
            self.tier.start()

    async def close(self) -> None:
        """Break off refreshes, finish shared calls and storing, close the store."""
        await self.refresher.close()
        if self.fleet is not None:
            await self.fleet.close()
        for keeper in self.keepers:
            await keeper.close()
        if self.confirmer is not None:
            await self.confirmer.close()
        if self.tier is not None:
            await self.tier.close()
        if self.store is not None:
            await self.store.close()


def _fleet(store: Store, settings: CacheConfig, metrics: GatewayMetrics, drain: Drain) -> ShareCalls | None:
    """Return what lets gateways over one store share their calls, if they can and may."""
    flights = store.flights() if settings.coalesce == "auto" else None
    if flights is None:
        return None
    # Only here: it needs Redis's client, which costs a worker 12 MB and a tenth of a second.
    from gateway.hops.share_calls import ShareCalls

    return ShareCalls(flights, store, metrics, drain)


def _behind_the_cache(parts: Parts, kept: Kept | None, client: SemanticClient | None) -> list[Step]:
    """Return the hops from the choice among a route's models on, if there is such a route; `client` is the
    way to the semantic process."""
    rest = _with_the_prompt(parts, kept, client)
    routes = {name: route for name, route in parts.config.routes.items() if len(route.tiers) > 1}
    if not routes:
        return rest
    live = parts.live
    if live.learners:
        rest = [Step(HearTier()), *rest]
    cascade = Cascade(
        routes,
        parts.tracer,
        Pipeline(rest).run,
        parts.subrequests,
        client,
        fits=parts.windows.fits,
        features=live.features,
    )
    watch = [Step(WatchRoute(live.learners))] if live.learners else []
    return [*watch, Step(cascade, OnFailure.OPEN), *rest]


def _with_the_prompt(parts: Parts, kept: Kept | None, client: SemanticClient | None) -> list[Step]:
    """Return the hops that make prompts shorter, and the upstream behind them."""
    settings = parts.config.compress
    steps: list[Step] = []
    if (fit := settings.fit) is not None:
        longer = [parts.find(name) for name in fit.longer]
        ways = Ways(fit, settings.stages, strategies(), longer, parts.subrequests, Ranking(client).rank)
        # It fails open by itself: it may answer before what follows it has begun.
        steps.append(Step(Fit(ways, parts.windows, parts.tracer, parts.metrics)))
    scorer = None if settings.scorer is None else parts.scorer(settings.scorer.model)
    waits = 1 if scorer is None else 2
    patience_s = waits * settings.deadline_ms / 1000 + _COMPRESS_PATIENCE_S
    compress = Compress(settings, parts.tracer, parts.metrics, client, scorer)
    steps.append(Step(compress, OnFailure.OPEN, patience_s))
    if settings.reversible and kept is not None:
        steps.append(Step(KeepLeftOut(kept, parts.metrics), OnFailure.OPEN, _CACHE_DEADLINE_S))
        steps.append(Step(Retrieve(kept, parts.tracer, parts.metrics)))
    return [*steps, Step(parts.call)]
