"""From a request to what the cache knows it by: its directives and its scope."""

from __future__ import annotations

from gateway.config.schema import SharedCache
from gateway.errors import InvalidRequest
from gateway.exchange import Exchange, Route
from gateway.wire.headers import to_upstream
from semantic_cache.directives import CACHE_CONTROL, CACHE_TAGS, CACHE_TTL, Directives, read_directives
from semantic_cache.errors import BadDirective
from semantic_cache.question import Question
from semantic_cache.scope import Scope


def cache_directives(ex: Exchange, member: object) -> Directives:
    """Return what headers and the body's `cache` member say. Raises InvalidRequest."""
    try:
        get = ex.headers.get
        return read_directives(get(CACHE_CONTROL), get(CACHE_TTL), member, get(CACHE_TAGS))
    except BadDirective as error:
        raise InvalidRequest(str(error), param=error.param) from None


def route_name(route: Route) -> str:
    """Return what a model name resolves to, as scopes have it."""
    own = f"{route.target.upstream}\0{route.upstream_model}"
    if route.tiers is None:
        return own
    return "\0".join(route_name(tier) for tier in route.tiers.routes)


def scope_of(
    ex: Exchange, question: Question, directives: Directives, group: SharedCache | None = None
) -> Scope:
    """Return the partition of the cache that the request belongs to; `group` are those whose it is too."""
    assert ex.route is not None
    return Scope.of(
        question,
        tenant=ex.tenant,
        route=route_name(ex.route),
        compress=ex.compress.label,
        namespace=directives.namespace,
        headers=to_upstream(ex.headers),
        group=None if group is None else group.name,
    )
