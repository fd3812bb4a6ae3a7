"""From a request to what the cache knows it by: its directives and its scope."""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.exchange import Exchange
from gateway.wire.request import read_request
from gateway.wire.splice import without_member
from semantic_cache.directives import BODY_FIELD, CACHE_CONTROL, CACHE_TTL, Directives, read_directives
from semantic_cache.errors import BadDirective
from semantic_cache.question import Question
from semantic_cache.scope import Scope


def cache_directives(ex: Exchange, member: object) -> Directives:
    """Return what headers and the body's `cache` member say. Raises InvalidRequest."""
    try:
        return read_directives(ex.headers.get(CACHE_CONTROL), ex.headers.get(CACHE_TTL), member)
    except BadDirective as error:
        raise InvalidRequest(str(error), param=error.param) from None


def take_directives(ex: Exchange, question: Question) -> Directives:
    """Return the directives, and take the body's `cache` member out: upstreams would stumble over it."""
    assert ex.view is not None
    directives = cache_directives(ex, question.cache)
    if BODY_FIELD in ex.view.spans:
        ex.body = without_member(ex.body, BODY_FIELD)
        ex.view = read_request(ex.body, ex.endpoint)
    return directives


def scope_of(ex: Exchange, question: Question, directives: Directives) -> Scope:
    """Return the partition of the cache that the request belongs to."""
    assert ex.route is not None
    return Scope.of(
        question,
        tenant=ex.tenant,
        route=f"{ex.route.target.upstream}\0{ex.route.upstream_model}",
        namespace=directives.namespace,
    )
