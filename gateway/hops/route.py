"""Finds what stands behind the requested model name: a route, a model, or the pass-through for all others.

A route of several models leads to the last one here; the cascade (`hops/cascade.py`) may choose another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gateway.answer import Answer
from gateway.config.schema import ANY_MODEL, Config, EngineUpstream, Model, Price
from gateway.errors import InvalidRequest, ModelNotFound
from gateway.exchange import Exchange, Route, Tiers
from gateway.pipeline import Next
from gateway.routing.capabilities import capabilities
from gateway.routing.policy import unlearned
from gateway.wire import headers
from router.policy.base import Policy
from router.policy.learned import load
from router.policy.of_two import OfTwo


class RouteByName:
    """Looks the model up in `routes`, then `models`, then `"*"`."""

    name = "route"

    def __init__(self, config: Config, policies: Mapping[str, Policy] | None = None) -> None:
        """`policies` are those of the routes that learn; without them, nothing has been learned yet."""
        learned = policies or {}
        self._routes = {name: _route(config, name) for name in config.models if name != ANY_MODEL}
        for name, route in config.routes.items():
            models = tuple(self._routes[tier] for tier in route.tiers)
            if len(models) == 1:
                self._routes[name] = models[0]
                continue
            if route.policy is not None:
                tiers = Tiers(models, OfTwo(load(Path(route.policy))))
            else:
                tiers = Tiers(models, learned[name] if name in learned else unlearned(config, name))
            self._routes[name] = replace(tiers.large, label=name, tiers=tiers)
        self._any = config.models.get(ANY_MODEL)

    async def run(self, ex: Exchange, next: Next) -> Answer:
        assert ex.view is not None
        ex.route = self.find(ex.view.model)
        if (wanted := ex.headers.get(headers.ROUTE)) is not None:
            ex.route, ex.reason = _tier(ex.route, wanted), "the request names it"
        return await next(ex)

    def price(self, model: str) -> Price | None:
        """Return the highest price that a request for this name may come to. Raises ModelNotFound."""
        route = self.find(model)
        if route.tiers is None:
            return route.target.price
        prices = [tier.target.price for tier in route.tiers.routes]
        known = [price for price in prices if price is not None]
        if len(known) < len(prices):
            return None
        return Price(sum(price.input for price in known), sum(price.output for price in known))

    def find(self, model: str) -> Route:
        """Return where a request for this name goes. Raises ModelNotFound."""
        if route := self._routes.get(model):
            return route
        # The star is a rule, not a name.
        if self._any is None or model == ANY_MODEL:
            raise ModelNotFound(model)
        return Route(model, ANY_MODEL, self._any, model)


def _route(config: Config, name: str) -> Route:
    model = config.models[name]
    can = capabilities(model, config.upstreams[model.upstream])
    return Route(name, name, model, model.model or _own_name(config, model) or name, can)


def _tier(route: Route, wanted: str) -> Route:
    """Return the tier that the caller wants whatever the policy says. Raises InvalidRequest."""
    tiers = () if route.tiers is None else route.tiers.routes
    for tier in tiers:
        if tier.label == wanted:
            return tier
    known = (
        f"must be one of {', '.join(tier.label for tier in tiers)}" if tiers else "needs a model with tiers"
    )
    raise InvalidRequest(f"The header '{headers.ROUTE}' {known}.", param=headers.ROUTE)


def _own_name(config: Config, model: Model) -> str | None:
    """Return the only name that a bundled engine answers to."""
    upstream = config.upstreams[model.upstream]
    return upstream.model if isinstance(upstream, EngineUpstream) else None
