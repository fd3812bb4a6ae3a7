"""Finds what stands behind the requested model name: a route, a model, or the pass-through for all others."""

from __future__ import annotations

from gateway.answer import Answer
from gateway.config.schema import ANY_MODEL, Config, EngineUpstream, Model, Price
from gateway.errors import ModelNotFound
from gateway.exchange import Exchange, Route
from gateway.pipeline import Next


class RouteByName:
    """Looks the model up in `routes`, then `models`, then `"*"`."""

    name = "route"

    def __init__(self, config: Config) -> None:
        self._routes = {name: _route(config, name) for name in config.models if name != ANY_MODEL}
        for name, route in config.routes.items():
            self._routes[name] = self._routes[route.tiers[0]]
        self._any = config.models.get(ANY_MODEL)

    async def run(self, ex: Exchange, next: Next) -> Answer:
        assert ex.view is not None
        ex.route = self.find(ex.view.model)
        return await next(ex)

    def price(self, model: str) -> Price | None:
        """Return the highest price that a request for this name may come to. Raises ModelNotFound."""
        return self.find(model).target.price

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
    return Route(name, name, model, model.model or _own_name(config, model) or name)


def _own_name(config: Config, model: Model) -> str | None:
    """Return the only name that a bundled engine answers to."""
    upstream = config.upstreams[model.upstream]
    return upstream.model if isinstance(upstream, EngineUpstream) else None
