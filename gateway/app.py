"""Where the gateway is wired together; the hops behind its routing are in `gateway/chain.py`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from gateway.cache_state import ANSWER_ENDPOINTS
from gateway.chain import Chain, Parts
from gateway.compression.mode import read_mode
from gateway.compression.perplexity.scorer import Scorer
from gateway.config.schema import ANY_MODEL, Config, EngineUpstream
from gateway.drain import Drain
from gateway.endpoints.feedback import FeedbackOn
from gateway.endpoints.health import Health
from gateway.endpoints.inference import Inference
from gateway.endpoints.metrics import MetricsPage
from gateway.endpoints.models import Models
from gateway.endpoints.requests import Requests
from gateway.endpoints.route import Handler, Key
from gateway.endpoints.savings import SavedSoFar
from gateway.hops.edge import Edge
from gateway.hops.limits import EnforceLimits
from gateway.hops.route import RouteByName
from gateway.hops.settle import Settle
from gateway.hops.upstream import CallUpstream
from gateway.lasting import Lasting, lasting_alone
from gateway.pipeline import Pipeline, Step
from gateway.routing.live import LiveRoutes
from gateway.savings.counterfactual import Counterfactual
from gateway.savings.counting import Savings
from gateway.state.keys.keyring import Keyring
from gateway.state.open import open_keys, open_ledger, open_outcomes, open_savings
from gateway.state.outage import Outage
from gateway.state.savings.book import SavingsBook
from gateway.subrequests import Subrequests
from gateway.upstreams.base import Upstream
from gateway.upstreams.engine import Engine, EngineStatus
from gateway.upstreams.openai import OpenAI
from gateway.window.windows import Windows
from gateway.wire.request import Endpoint
from telemetry.setup import Telemetry

_MIB = 1024 * 1024


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
    engines = {name: upstream for name, upstream in upstreams.items() if isinstance(upstream, Engine)}
    subrequests, tracer = Subrequests(), telemetry.tracer
    live = LiveRoutes(config, open_outcomes(config.state.store), metrics, tracer, subrequests)
    route = RouteByName(config, live.policies)

    def scorer(model: str) -> Scorer:
        found = route.find(model)
        return Scorer(found, upstreams[found.target.upstream], tracer, metrics)

    live.score_with(config, scorer)
    call = CallUpstream(upstreams, tracer, metrics)
    windows = Windows(engines)
    chain = Chain.of(
        Parts(config, tracer, metrics, drain, call, route.find, scorer, windows, live, subrequests), semantic
    )
    first = [
        Step(Settle(metrics, settled, Savings(Counterfactual(engines), book, metrics))),
        Step(
            Edge(
                tracer,
                keyring,
                config.server.max_body_mb * _MIB,
                read_mode(config.compress.mode),
                ways=() if config.compress.fit is None else config.compress.fit.strategies,
            )
        ),
        Step(EnforceLimits(ledger, route.price, metrics)),
        Step(route),
    ]
    answers, embeddings = Pipeline([*first, *chain.answers]), Pipeline([*first, *chain.embeddings])
    client = None if chain.tier is None else chain.tier.client
    live.compare_with(client)
    feedback = FeedbackOn(lasting.siblings, keyring, chain.store, client, metrics)
    chain.refresher.bind(answers.run)
    subrequests.bind(answers.run)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        try:
            await keyring.start()
            chain.start()
            for upstream in upstreams.values():
                await upstream.start()
            await live.start()
            yield
        finally:
            await live.close()
            await chain.close()
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
