"""Reserves what a request of a limited tenant may take or refuses it, and settles in the end.

Fails closed: if the accounts cannot be read, a limited tenant's requests are refused. A tenant without limits
has no accounts and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.answer import Answer
from gateway.charge import charge_of
from gateway.config.schema import Limits, Price
from gateway.cost import cost_usd
from gateway.errors import InvalidRequest, ModelNotFound
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.state.ledger.base import Ask, Refusal, nano_usd
from gateway.state.ledger.lease import Reservation
from gateway.state.ledger.ledger import Ledger
from gateway.wire import estimate
from gateway.wire.ratelimit import limit_error, limit_headers
from gateway.wire.usage import Usage
from telemetry import names
from telemetry.metrics import GatewayMetrics


class EnforceLimits:
    """Requests and tokens per minute, US dollars per day."""

    name = "limits"

    def __init__(
        self, ledger: Ledger, price_of: Callable[[str], Price | None], metrics: GatewayMetrics
    ) -> None:
        """`price_of` returns the highest price that a request for a model may come to, if it is known."""
        self._ledger = ledger
        self._price_of = price_of
        self._metrics = metrics

    async def run(self, ex: Exchange, next: Next) -> Answer:
        limits = ex.limits
        if limits is None:
            return await next(ex)
        # Counting streams costs a little, and requests alone do not need it.
        ex.metered = limits.tpm is not None or limits.usd_per_day is not None
        prompt = estimate.prompt_tokens(ex.body) if ex.metered else 0
        outcome = await self._ledger.reserve(ex.tenant, limits, self._ask(ex, limits, prompt))
        ex.reply_headers.update(limit_headers(outcome.standing))
        if isinstance(outcome, Refusal):
            self._metrics.limit_rejection(ex.tenant, outcome.kind)
            ex.span.set(names.FOREBAY_LIMIT, outcome.kind.value)
            raise limit_error(outcome, ex.tenant)
        # Nothing is awaited between the reservation and this line, so none is ever lost.
        reservation = outcome.reservation
        ex.at_end(lambda: self._settle(ex, reservation, prompt))
        return await next(ex)

    def _ask(self, ex: Exchange, limits: Limits, prompt: int) -> Ask:
        if not ex.metered:
            return Ask()
        assert ex.view is not None
        completion = stated = estimate.stated_completion(ex.view, ex.body, ex.endpoint)
        if completion is None:
            completion = estimate.UNSTATED_COMPLETION * estimate.choices(ex.view, ex.body)
        # A stated length must fit. An answer of unknown length takes what is left if that is less: the next
        # request then has to wait for it, so the limit is passed by one answer at most.
        least = stated or 0
        if limits.usd_per_day is None:
            return Ask(prompt + completion, 0, prompt + least, 0)
        try:
            price = self._price_of(ex.view.model)
        except ModelNotFound:
            # The route's to refuse; the answer then says how much is left, as all others do.
            price = Price()
        if price is None:
            raise InvalidRequest(
                f"The model `{ex.view.model}` has no price in this gateway's configuration, "
                "so it cannot be used on a daily budget.",
                param="model",
                code="model_not_priced",
            )
        tokens = prompt + completion
        money = nano_usd(cost_usd(Usage(prompt, completion), price))
        if least == completion:
            return Ask(tokens, money, tokens, money)
        return Ask(tokens, money, prompt + least, nano_usd(cost_usd(Usage(prompt, least), price)))

    def _settle(self, ex: Exchange, reservation: Reservation, prompt: int) -> None:
        ex.charged = charge_of(ex, prompt)
        self._ledger.settle(reservation, ex.charged)
