"""What a route's configuration comes to for the router: its knob, its tiers' prices, its policy."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.schema import Config, Price, RouteConfig
from router.online.experience import Experience
from router.policy.knob import Budget, Knob, Latency, Quality
from router.policy.of_many import OfMany, Terms

DEFAULT_QUALITY = 0.95
DEFAULT_SHADOW = 0.02
_MILLION = 1_000_000


def learns(route: RouteConfig) -> bool:
    """Return whether the route has several tiers and no policy that is fixed."""
    return len(route.tiers) > 1 and route.policy is None


def knob_of(route: RouteConfig) -> Knob:
    """Return what is asked of a route; 0.95 of the last tier's quality if nothing is."""
    if route.budget is not None:
        return Budget(route.budget)
    if route.latency is not None:
        return Latency(route.latency)
    return Quality(DEFAULT_QUALITY if route.quality is None else route.quality)


def terms_of(config: Config, route: RouteConfig) -> Sequence[Terms]:
    """Return the tiers with their prices."""
    return [_terms(tier, config.models[tier].price) for tier in route.tiers]


def unlearned(config: Config, name: str) -> OfMany:
    """Return the policy of a route that has no outcomes and no prior: for whoever only asks where names
    lead."""
    route = config.routes[name]
    return OfMany(terms_of(config, route), Experience(route.tiers, knob_of(route), None))


def _terms(name: str, price: Price | None) -> Terms:
    if price is None:
        return Terms(name)
    read = price.input if price.cache_read is None else price.cache_read
    return Terms(name, price.input / _MILLION, price.output / _MILLION, read / _MILLION)
