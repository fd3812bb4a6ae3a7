"""Adds up what a request took and cost."""

from __future__ import annotations

import time

from gateway.cache_state import SERVED
from gateway.cost import cost_usd
from gateway.exchange import Exchange
from gateway.state.ledger.base import NANO
from gateway.state.settled import (
    SettledAnswer,
    SettledCall,
    SettledCharge,
    SettledCompression,
    SettledFit,
    SettledRequest,
    SettledSavings,
    SettledUsage,
    Timings,
)
from gateway.wire.errors import cause_of, kind_of


def usage_of(ex: Exchange) -> SettledUsage | None:
    """Return the tokens of all calls that reported theirs, or None if none did."""
    if not ex.calls:
        return None
    usages = [call.outcome.usage for call in ex.calls if call.outcome.usage is not None]
    if not usages:
        return None
    return SettledUsage(
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
    )


def cost_of(ex: Exchange) -> float | None:
    """Return the price of all calls and of the requests that this one has made, or None if any call's tokens
    or price are not known."""
    if ex.cache is not None and ex.cache.verdict in SERVED and not ex.calls and not ex.inner:
        return 0.0
    cost = 0.0
    for inner in ex.inner:
        if (part := cost_of(inner)) is None:
            return None
        cost += part
    for call in ex.calls:
        usage, price = call.outcome.usage, call.target.price
        if usage is None and call.status is not None and call.status >= 400:
            # An error answer costs nothing.
            continue
        if usage is None or price is None:
            return None
        cost += cost_usd(usage, price)
    for scoring in ex.scorings:
        if scoring.target.price is None:
            return None
        cost += cost_usd(scoring.usage, scoring.target.price)
    return cost if ex.calls or ex.inner else None


def route_of(ex: Exchange) -> str | None:
    """Return the model that answers; of a route with two, those that were called: `small>large`."""
    if ex.route is None or ex.route.tiers is None:
        if ex.calls and (fitted := ex.calls[-1].fitted) is not None and not fitted.shorter:
            return fitted.model
        return None if ex.route is None else ex.route.label
    return ">".join(dict.fromkeys(call.model for call in ex.calls)) or ex.route.label


def reason_of(ex: Exchange) -> str | None:
    """Return why the route's last call was made, or its answer stands; None where nothing was to decide."""
    return (ex.calls[-1].reason or None) if ex.calls else None


def charged_of(ex: Exchange) -> SettledCharge | None:
    """Return what was put on the accounts of a limited tenant."""
    used = ex.charged
    return None if used is None else SettledCharge(used.requests, used.tokens, used.nano_usd / NANO)


def timings_of(ex: Exchange) -> Timings:
    """Return the times so far."""
    now = time.monotonic()
    total = now - ex.started_s
    receiving = (ex.received_s or ex.started_s) - ex.started_s
    upstream = 0.0
    for call in ex.calls:
        upstream += (call.ended_s or now) - call.started_s
    first_byte = None if ex.first_byte_s is None else _ms(ex.first_byte_s - ex.started_s)
    return Timings(_ms(total), first_byte, _ms(upstream), _ms(max(0.0, total - receiving - upstream)))


def compression_of(ex: Exchange) -> SettledCompression | None:
    """Return what was done to the prompt of the last call, if anything was tried."""
    made = ex.calls[-1].compression if ex.calls else None
    if made is None:
        return None
    return SettledCompression(
        made.mode,
        made.tokens_before,
        made.tokens_after,
        made.ratio,
        dict(made.stages),
        made.ranked,
        made.scorer,
        _ms(made.scorer_seconds),
        _ms(made.seconds),
        made.retrieved,
    )


def fit_of(ex: Exchange) -> SettledFit | None:
    """Return how the prompt of the last call came to fit, if it was too long."""
    made = ex.calls[-1].fitted if ex.calls else None
    if made is None:
        return None
    return SettledFit(
        made.strategy,
        made.model,
        made.window,
        made.tokens_before,
        made.tokens_after,
        made.exact,
        made.windows,
        made.left_out,
        made.calls,
        _ms(made.seconds),
    )


def trace_id_of(ex: Exchange) -> str | None:
    """Return the trace that the request belongs to: ours, or the caller's if we do not trace."""
    if ex.span.context.valid:
        return ex.span.context.trace_id
    return ex.caller.trace_id if ex.caller is not None else None


def settle(ex: Exchange, savings: SettledSavings | None = None) -> SettledRequest:
    """Return the record of a request, complete or as far as it has come."""
    error = ex.failure()
    if error is None and ex.error is not None:
        error = cause_of(ex.error)
    return SettledRequest(
        id=ex.id,
        created=int(ex.created),
        endpoint=ex.endpoint.route,
        tenant=ex.tenant,
        model=ex.view.model if ex.view else "",
        route=route_of(ex),
        route_reason=reason_of(ex),
        stream=ex.view.stream if ex.view else False,
        status=kind_of(ex.error).status if ex.status is None and ex.error is not None else ex.status,
        error=error,
        cache=ex.cache.verdict if ex.cache else None,
        stored=_stored_of(ex),
        attempts=len(ex.calls),
        usage=usage_of(ex),
        cost_usd=cost_of(ex),
        charged=charged_of(ex),
        compression=compression_of(ex),
        savings=savings,
        fit=fit_of(ex),
        timings_ms=timings_of(ex),
        calls=[
            SettledCall(
                call.upstream,
                call.model,
                call.status,
                call.error,
                call.outcome.finish_reasons,
                _ms(call.seconds()),
            )
            for call in ex.calls
        ],
        trace_id=trace_id_of(ex),
    )


def _stored_of(ex: Exchange) -> SettledAnswer | None:
    cache = ex.cache
    if cache is None or cache.key is None:
        return None
    own, hit = cache.key.digest.hex(), cache.hit
    holder = cache.holder or cache.key.tenant
    group = "" if cache.shared is None else cache.shared.tenant
    if hit is None:
        return SettledAnswer(own, own, holder=holder, group=group)
    return SettledAnswer(own, hit.entry.digest.hex(), hit.similarity, hit.ticket, holder, group)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
