"""The one place where the gateway is wired together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.cache_state import ANSWER_ENDPOINTS
from gateway.compression.kept import Kept
from gateway.compression.mode import read_mode
from gateway.compression.perplexity.scorer import Scorer
from gateway.config.schema import ANY_MODEL, CacheConfig, Config, EngineUpstream
from gateway.confirmer import Confirmer
from gateway.drain import Drain
from gateway.endpoints.feedback import FeedbackOn
from gateway.endpoints.health import Health
from gateway.endpoints.inference import Inference
from gateway.endpoints.metrics import MetricsPage
from gateway.endpoints.models import Models
from gateway.endpoints.requests import Requests
from gateway.endpoints.route import Handler, Key
from gateway.endpoints.savings import SavedSoFar
from gateway.exchange import Route
from gateway.hops.cascade import Cascade
from gateway.hops.coalesce import Coalesce
from gateway.hops.compress import Compress
from gateway.hops.edge import Edge
from gateway.hops.embedding_cache import EmbeddingCache
from gateway.hops.exact_cache import ExactCache
from gateway.hops.fit import Fit
from gateway.hops.keep_left_out import KeepLeftOut
from gateway.hops.learn_route import HearTier, WatchRoute
from gateway.hops.limits import EnforceLimits
from gateway.hops.retrieve import Retrieve
from gateway.hops.route import RouteByName
from gateway.hops.settle import Settle
from gateway.hops.store_answer import StoreAnswer
from gateway.hops.upstream import CallUpstream
from gateway.lasting import Lasting, lasting_alone
from gateway.pipeline import OnFailure, Pipeline, Step
from gateway.refresh import Refresher
from gateway.routing.case import Fits
from gateway.routing.live import LiveRoutes
from gateway.savings.counterfactual import Counterfactual
from gateway.savings.counting import Savings
from gateway.semantic_tier import SemanticTier
from gateway.state.keys.keyring import Keyring
from gateway.state.open import open_keys, open_ledger, open_outcomes, open_savings
from gateway.state.outage import Outage
from gateway.state.savings.book import SavingsBook
from gateway.subrequests import Subrequests
from gateway.upstreams.base import Upstream
from gateway.upstreams.engine import Engine, EngineStatus
from gateway.upstreams.openai import OpenAI
from gateway.window.fitting import Ways
from gateway.window.ranking import Ranking
from gateway.window.strategies import strategies
from gateway.window.windows import Windows
from gateway.wire.request import Endpoint
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.store.base import Budget, Store, StoreEvent
from semantic_cache.store.open import open_store
from telemetry.metrics import GatewayMetrics
from telemetry.setup import Telemetry

if TYPE_CHECKING:
    from gateway.hops.share_calls import ShareCalls

_MIB = 1024 * 1024
_CACHE_DEADLINE_S = 2.0
"""A store has deadlines of its own; this one is for what they do not foresee."""
_COMPRESS_PATIENCE_S = 2.0
"""Beyond the deadline for ranking; the same."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A configuration at work: what answers each route, and the parts that whoever runs it needs to reach."""

    routes: Mapping[Key, Handler]
    running: Callable[[], AbstractAsyncContextManager[None]]
    """Its parts run inside this block, once."""
    upstreams: Mapping[str, Upstream]
    drain: Drain
    keyring: Keyring


def build_upstreams(config: Config, engines: Mapping[str, EngineStatus]) -> dict[str, Upstream]:
    """Return the configured upstreams. `engines` tells of every engine what its process is doing."""
    upstreams: dict[str, Upstream] = {}
    priorities = {tenant.name: tenant.priority for tenant in config.tenants}
    for name, upstream in config.upstreams.items():
        if isinstance(upstream, EngineUpstream):
            upstreams[name] = Engine(name, upstream, engines[name], priorities=priorities)
        else:
            upstreams[name] = OpenAI(name, upstream)
    return upstreams


def build_gateway(
    config: Config,
    upstreams: Mapping[str, Upstream],
    telemetry: Telemetry,
    lasting: Lasting | None = None,
    semantic: str | None = None,
) -> Gateway:
    """Return a gateway; its upstreams and stores run while `running()` does.

    `lasting` comes from the process, which outlives this configuration. `semantic` is the socket of the
    semantic process that belongs to it, if the configuration has that tier.
    """
    lasting = lasting or lasting_alone(telemetry)
    metrics, settled, drain = lasting.metrics, lasting.settled, lasting.drain
    keyring = Keyring(config, open_keys(config.state.store), Outage("keys", metrics))
    health = Health(upstreams, drain)
    pass_through = config.models.get(ANY_MODEL)
    models = Models(config, upstreams[pass_through.upstream] if pass_through else None, keyring)
    requests = Requests(lasting.siblings, keyring)
    ledger = open_ledger(config.state.store, Outage("ledger", metrics))
    book = SavingsBook(open_savings(config.state.store), Outage("savings", metrics))
    engines = [name for name, of in config.upstreams.items() if isinstance(of, EngineUpstream)]
    windows = Windows(
        {name: upstream for name, upstream in upstreams.items() if isinstance(upstream, Engine)}
    )
    subrequests = Subrequests()
    live = LiveRoutes(config, open_outcomes(config.state.store), metrics, telemetry.tracer, subrequests)
    route = RouteByName(config, live.policies)
    call = Step(CallUpstream(upstreams, telemetry.tracer, metrics))

    def scores(model: str) -> Scorer:
        found = route.find(model)
        return Scorer(found, upstreams[found.target.upstream], telemetry.tracer, metrics)

    live.score_with(config, scores)
    scorer = None if config.compress.scorer is None else scores(config.compress.scorer.model)
    shrink = _Shrink(config, telemetry, metrics, route.find, windows, subrequests, scorer)
    cached = _Cached.of(config, shrink, call, telemetry, metrics, drain, semantic, subrequests, live)
    first = [
        Step(Settle(metrics, settled, Savings(Counterfactual(engines), book, metrics))),
        Step(
            Edge(
                telemetry.tracer,
                keyring,
                config.server.max_body_mb * _MIB,
                read_mode(config.compress.mode),
                ways=() if config.compress.fit is None else config.compress.fit.strategies,
            )
        ),
        Step(EnforceLimits(ledger, route.price, metrics)),
        Step(route),
    ]
    answers, embeddings = Pipeline([*first, *cached.answers]), Pipeline([*first, *cached.embeddings])
    client = None if cached.tier is None else cached.tier.client
    live.compare_with(client)
    feedback = FeedbackOn(lasting.siblings, keyring, cached.store, client, metrics)
    cached.refresher.bind(answers.run)
    subrequests.bind(answers.run)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        try:
            await keyring.start()
            if cached.fleet is not None:
                cached.fleet.start()
            if cached.tier is not None:
                cached.tier.start()
            for upstream in upstreams.values():
                await upstream.start()
            await live.start()
            yield
        finally:
            await live.close()
            await cached.close()
            await keyring.close()
            await ledger.close()
            await book.close()
            await asyncio.gather(*(upstream.close() for upstream in upstreams.values()))

    routes: dict[Key, Handler] = {
        ("GET", "/v1/models"): models.list,
        ("GET", "/v1/models/{id:.+}"): models.one,
        ("GET", "/health"): health.alive,
        ("GET", "/health/ready"): health.ready,
        ("GET", "/metrics"): MetricsPage(lasting.siblings).page,
        ("GET", "/forebay/requests/{id}"): requests.one,
        ("POST", "/forebay/requests/{id}/feedback"): feedback.take,
        ("GET", "/forebay/savings"): SavedSoFar(book, keyring).page,
    }
    for endpoint in Endpoint:
        pipeline = answers if endpoint in ANSWER_ENDPOINTS else embeddings
        routes["POST", endpoint.route] = Inference(endpoint, pipeline, drain).answer
    return Gateway(routes, running, upstreams, drain, keyring)


def _fleet(store: Store, settings: CacheConfig, metrics: GatewayMetrics, drain: Drain) -> ShareCalls | None:
    """Return what lets gateways over one store share their calls, if they can and may."""
    flights = store.flights() if settings.coalesce == "auto" else None
    if flights is None:
        return None
    # Only here: it needs Redis's client, which costs a worker 12 MB and a tenth of a second.
    from gateway.hops.share_calls import ShareCalls

    return ShareCalls(flights, store, metrics, drain)


@dataclass(frozen=True, slots=True)
class _Cached:
    """The hops from the cache to the upstream, and what must be closed with them."""

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
    def of(
        cls,
        config: Config,
        shrink: _Shrink,
        call: Step,
        telemetry: Telemetry,
        metrics: GatewayMetrics,
        drain: Drain,
        socket: str | None,
        subrequests: Subrequests,
        live: LiveRoutes,
    ) -> _Cached:
        """Return the hops of a configuration; without a cache they only lead to the upstream."""
        refresher, settings = Refresher(), config.cache
        if settings is None:
            upstream = [*shrink.steps(None), call]
            only = _cascaded(config, telemetry, upstream, subrequests, live, shrink.windows.fits)
            return cls(only, [call], refresher, (), None, None, None, None)

        def on_event(event: StoreEvent, count: int) -> None:
            metrics.cache_store_event(event.value, count)

        budget = Budget(settings.max_entries, settings.max_mb * _MIB)
        store = open_store(settings.store.reveal(), budget, on_event=on_event)
        tier = None
        if settings.semantic is not None and socket is not None:
            tier = SemanticTier(
                settings.semantic, store, socket, telemetry.tracer, metrics, settings.mode, subrequests
            )
        confirmer = Confirmer(store, None, None, metrics) if tier is None else tier.confirmer
        keeper = StoreAnswer(store, settings, metrics, None if tier is None else tier.storing, confirmer)
        fleet = _fleet(store, settings, metrics, drain)
        rest: list[Step] = []
        if tier is not None and settings.semantic is not None:
            # It has its own deadline for the process; the rest is for the store.
            patience_s = _CACHE_DEADLINE_S + settings.semantic.deadline_ms / 1000
            rest.append(Step(tier.hop, OnFailure.OPEN, patience_s))
        if fleet is not None:
            # Behind the semantic tier: what it answers itself needs no lease.
            rest.append(Step(fleet))
        client = None if tier is None else tier.client
        upstream = [*shrink.steps(client), call]
        if config.compress.reversible:
            kept = Kept(store, settings.ttl_s)
            upstream[-1:-1] = [
                Step(KeepLeftOut(kept, metrics), OnFailure.OPEN, _CACHE_DEADLINE_S),
                Step(Retrieve(kept, telemetry.tracer, metrics)),
            ]
        rest += [
            Step(keeper, OnFailure.OPEN),
            *_cascaded(config, telemetry, upstream, subrequests, live, shrink.windows.fits, client),
        ]
        look_up = ExactCache(store, settings, telemetry.tracer, refresher.start)
        answers = [
            # A store that is read on the event loop never waits, so no clock could interrupt it.
            Step(look_up, OnFailure.OPEN, _CACHE_DEADLINE_S if store.waits else None),
            # It runs the rest itself, outside of any one request, unless a request is to go alone.
            Step(Coalesce(Pipeline(rest))),
            *rest,
        ]
        vectors = EmbeddingCache(store, settings, telemetry.tracer, metrics)
        keepers = (keeper, vectors)
        embeddings = [Step(vectors), call]
        return cls(answers, embeddings, refresher, keepers, fleet, confirmer, store, tier)

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


@dataclass(frozen=True, slots=True)
class _Shrink:
    """The hops that make prompts shorter."""

    config: Config
    telemetry: Telemetry
    metrics: GatewayMetrics
    find: Callable[[str], Route]
    windows: Windows
    subrequests: Subrequests
    scorer: Scorer | None

    def steps(self, client: SemanticClient | None) -> list[Step]:
        """Return them; `client` is the way to the semantic process, where there is one."""
        compress, tracer = self.config.compress, self.telemetry.tracer
        waits = 1 if self.scorer is None else 2
        patience_s = waits * compress.deadline_ms / 1000 + _COMPRESS_PATIENCE_S
        hop = Compress(compress, tracer, self.metrics, client, self.scorer)
        steps = [Step(hop, OnFailure.OPEN, patience_s)]
        if (fit := compress.fit) is not None:
            longer = [self.find(name) for name in fit.longer]
            ways = Ways(fit, compress.stages, strategies(), longer, self.subrequests, Ranking(client).rank)
            # It fails open by itself: it may answer before what follows it has begun.
            steps.insert(0, Step(Fit(ways, self.windows, tracer, self.metrics)))
        return steps


def _cascaded(
    config: Config,
    telemetry: Telemetry,
    rest: list[Step],
    subrequests: Subrequests,
    live: LiveRoutes,
    fits: Fits,
    client: SemanticClient | None = None,
) -> list[Step]:
    """Return the hops behind the cache, with those that choose among a route's models if there is such a
    route."""
    routes = {name: route for name, route in config.routes.items() if len(route.tiers) > 1}
    if not routes:
        return rest
    if live.learners:
        rest = [Step(HearTier()), *rest]
    following, tracer = Pipeline(rest).run, telemetry.tracer
    hop = Cascade(routes, tracer, following, subrequests, client, fits=fits, features=live.features)
    cascade = Step(hop, OnFailure.OPEN)
    return [Step(WatchRoute(live.learners)), cascade, *rest] if live.learners else [cascade, *rest]
