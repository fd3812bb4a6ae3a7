"""What a request would have cost without Forebay, and what each layer changed about that.

Without us, each request that a client has sent goes to the model that it names, for a route to the last one,
with the whole prompt; what that model's provider keeps in its own prompt cache is the provider's discount
and not our saving. From there to what was paid it goes step by step, and each step is a layer's: so the
layers add up to the difference whatever the numbers are.

Where the provider was not asked, its discount has to be supposed: of a prompt that it would have seen before,
as much as OpenAI's cache would have held (whole blocks of 128 tokens, from 1,024 on) counts as read from it
if the price says what that costs. No provider holds that much for long, so savings are rather too small.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

import msgspec

from gateway.cache_state import SERVED
from gateway.compression.outcome import BYTES_PER_TOKEN, Compression
from gateway.config.schema import Price
from gateway.cost import cost_usd
from gateway.exchange import Call, Exchange, Route
from gateway.savings.latency import Latencies
from gateway.savings.saved import Saved
from gateway.state.ledger.base import nano_usd
from gateway.wire.request import Endpoint
from gateway.wire.usage import PromptDetails, Usage
from semantic_cache.embeddings import tokens_of
from semantic_cache.entry import Entry
from telemetry import names

BLOCK, LEAST_CACHED = 128, 1024
"""Tokens: what OpenAI's prompt cache holds comes in such blocks, and not below so many."""

_MOST = 10**9
_LAYERS = {"hit-semantic": names.SAVED_SEMANTIC, "coalesced": names.SAVED_COALESCED}
_FREE = Price()


class _Counted(msgspec.Struct, gc=False):
    usage: Usage | None = None


_DECODE = msgspec.json.Decoder(_Counted).decode


class Counterfactual:
    """Compares each request with the one that it would have been."""

    def __init__(self, engines: Collection[str]) -> None:
        """`engines` are the upstreams whose prefix cache is ours."""
        self._engines = frozenset(engines)
        self._latencies = Latencies()

    def saved(self, ex: Exchange) -> Saved | None:
        """Return what a request saved as far as it has come; None if there is nothing to compare."""
        if ex.route is None or not ex.tenant:
            return None
        if ex.origin is not None or not ex.asked_for:
            return _ours(ex)
        saved = Saved()
        direct = ex.route.tiers.large if ex.route.tiers is not None else ex.route
        if ex.calls:
            self._called(ex.calls, direct, saved)
            _scored(ex, saved)
            if ex.endpoint is Endpoint.EMBEDDINGS:
                self._spared(ex, direct, saved)
        else:
            self._spared(ex, direct, saved)
        if not saved.layers and not saved.direct and (ex.status != 200 or not ex.calls):
            return None
        if not saved.priced:
            _forget_money(saved)
        return saved

    def see(self, ex: Exchange) -> None:
        """Learn from the calls of a request that is over."""
        for call in ex.calls:
            self._latencies.see(call)

    def _spared(self, ex: Exchange, direct: Route, saved: Saved) -> None:
        """Count what came from the cache, or from a call that another request answers for."""
        cache = ex.cache
        if cache is None or ex.status != 200:
            # Nothing is saved by whoever gets the error that another request has got.
            return
        layer = _LAYERS.get(cache.verdict, names.SAVED_EXACT)
        if not (cache.stored or cache.followed):
            if cache.verdict in SERVED and not ex.calls:
                # A call of another gateway that a request of this one has joined before.
                saved.priced = False
                saved.add(layer)
            return
        price, seconds, money, read, written = direct.target.price, 0.0, 0, 0, 0
        if cache.stored:
            counts = [(_usage_of(entry), entry.cost_s) for entry in cache.stored]
        else:
            last = _answering(cache.followed)
            counts = [(_known_usage(last), last.seconds())]
        for usage, took in counts:
            seconds += took
            if usage is None or price is None:
                saved.priced = False
                continue
            supposed = _supposed(usage, usage.input_tokens, price)
            cost = nano_usd(cost_usd(supposed, price))
            money += cost
            saved.batch += _batch(cost, price)
            read += usage.input_tokens - supposed.cached_tokens
            written += usage.output_tokens
        saved.direct += money
        learned = self._latencies.seconds(direct.model, read, written)
        own = 0.0 if ex.calls else time.monotonic() - ex.started_s
        without = seconds if learned is None else learned
        saved.add(layer, money, without - own if without else 0.0)

    def _called(self, calls: Sequence[Call], direct: Route, saved: Saved) -> None:
        """Count the request's own calls."""
        answering = _answering(calls)
        usage, price = _known_usage(answering), direct.target.price
        paid_price = answering.target.price
        if usage is None or price is None or paid_price is None:
            saved.priced = False
            usage, price, paid_price = usage or Usage(), price or _FREE, paid_price or _FREE
        own = answering.upstream in self._engines
        paid = nano_usd(cost_usd(usage, paid_price))
        if answering.fitted is not None:
            # Without us the prompt would have been too long, and no answer would have come of it.
            at_large, plain, price = usage, paid, paid_price
        elif answering.target is direct.target and not own:
            # What nearly every request is.
            at_large, plain = usage, paid
        else:
            at_large = _at_large(usage, answering, direct, price, own=own)
            plain = nano_usd(cost_usd(at_large, price))
        whole = plain
        if answering.compression is not None and answering.fitted is None:
            left_out = _left_out(answering.compression)
            whole = nano_usd(cost_usd(_with(at_large, left_out), price))
            faster = left_out * self._latencies.seconds_per_token_read(answering.model)
            if left_out:
                saved.add(names.SAVED_COMPRESSION, whole - plain, faster - answering.compression.seconds)
        reused = 0
        if own and usage.cached_tokens and answering.fitted is None:
            reused = nano_usd(cost_usd(_uncached(usage), paid_price)) - paid
            seconds = usage.cached_tokens * self._latencies.seconds_per_token_read(answering.model)
            saved.add(names.SAVED_PREFIX, reused, seconds)
        if answering.target != direct.target and answering.fitted is None:
            other = self._latencies.seconds(
                direct.model, at_large.input_tokens - at_large.cached_tokens, at_large.output_tokens
            )
            faster = 0.0 if other is None else other - answering.seconds()
            saved.add(names.SAVED_CASCADE, plain - paid - reused, faster)
        saved.direct += whole
        saved.actual += paid
        saved.batch += _batch(whole, price)
        for call in calls:
            if call is not answering:
                self._beside(call, answering, saved)

    @staticmethod
    def _beside(call: Call, answering: Call, saved: Saved) -> None:
        """Count a call whose answer nobody got."""
        paid = _paid(call)
        if paid is None:
            saved.priced = False
        saved.actual += paid or 0
        # Or one in which the same model asked for what had been left out of its prompt.
        layer = names.SAVED_COMPRESSION if _asks_back(call, answering) else names.SAVED_ESCALATION
        saved.add(layer, -(paid or 0), -call.seconds(), requests=int(layer == names.SAVED_ESCALATION))


def _scored(ex: Exchange, saved: Saved) -> None:
    """Take off what it cost to find out what the prompt can do without; the time is in compressing's."""
    for scoring in ex.scorings:
        if (price := scoring.target.price) is None:
            saved.priced = False
            continue
        cost = nano_usd(cost_usd(scoring.usage, price))
        saved.add(names.SAVED_COMPRESSION, -cost, requests=0)
        saved.actual += cost


def _ours(ex: Exchange) -> Saved | None:
    """Return what a request that no client has sent cost; without us it would not have been."""
    if not ex.calls and not ex.scorings:
        return None
    saved = Saved()
    for call in ex.calls:
        paid = _paid(call)
        if paid is None:
            saved.priced = False
        saved.actual += paid or 0
    for scoring in ex.scorings:
        if (price := scoring.target.price) is None:
            saved.priced = False
            continue
        saved.actual += nano_usd(cost_usd(scoring.usage, price))
    saved.add(names.SAVED_SUBREQUESTS if ex.origin is not None else names.SAVED_REFRESH, -saved.actual)
    if not saved.priced:
        _forget_money(saved)
    return saved


def _forget_money(saved: Saved) -> None:
    saved.direct = saved.actual = saved.batch = 0
    for layer in saved.layers.values():
        layer.nano_usd = 0


def _answering(calls: Sequence[Call]) -> Call:
    """Return the call whose answer the client got: the last one, and its error if that is what came of it,
    however well a smaller model had answered before."""
    return calls[-1]


def _known_usage(call: Call) -> Usage | None:
    """Return the tokens that a call is charged for: none for an error that came instead of an answer."""
    if call.outcome.usage is not None:
        return _sane(call.outcome.usage)
    failed = call.error is not None and (call.status is None or call.status != 200)
    return Usage() if failed and not call.outcome.counted else None


def _sane(usage: Usage | None) -> Usage | None:
    """Return None for numbers that no model can mean: a server may report any, and no sum shall overflow."""
    if usage is None or not (0 <= usage.prompt_tokens <= _MOST and 0 <= usage.output_tokens <= _MOST):
        return None
    if usage.prompt_tokens_details is None:
        return usage
    return usage if usage.cached_tokens >= 0 and usage.cache_write_tokens >= 0 else None


def _paid(call: Call) -> int | None:
    usage, price = _known_usage(call), call.target.price
    return None if usage is None or price is None else nano_usd(cost_usd(usage, price))


def _usage_of(entry: Entry) -> Usage | None:
    """Return the tokens that a stored answer counts. Its making may have taken fewer of prompt, if that was
    compressed: which is not kept."""
    try:
        if entry.endpoint == "embeddings":
            tokens = tokens_of(entry.answer)
            return None if tokens is None else _sane(Usage(tokens))
        return _sane(_DECODE(entry.answer).usage)
    except msgspec.DecodeError:
        return None


def _supposed(usage: Usage, seen_before: int, price: Price) -> Usage:
    """Return tokens as the provider would have counted them which has not been asked: `seen_before` of the
    prompt were in requests before."""
    held = seen_before // BLOCK * BLOCK if seen_before >= LEAST_CACHED else 0
    cached = 0 if price.cache_read is None else min(held, usage.input_tokens)
    return Usage(usage.input_tokens, usage.output_tokens, PromptDetails(cached))


def _at_large(usage: Usage, call: Call, direct: Route, price: Price, *, own: bool) -> Usage:
    """Return the tokens of an answer as they would have counted without us."""
    if call.target == direct.target:
        return _uncached(usage) if own else usage
    # What the small model had seen before, the large one would have.
    return _supposed(usage, usage.cached_tokens, price)


def _uncached(usage: Usage) -> Usage:
    return Usage(usage.input_tokens, usage.output_tokens)


def _left_out(compression: Compression) -> int:
    """Return the tokens that the prompt was short of in the call, less those that we put in ourselves."""
    edits = compression.edits
    return sum([edit.end - edit.start - len(edit.text) for edit in edits]) // BYTES_PER_TOKEN


def _asks_back(call: Call, answering: Call) -> bool:
    compression = call.compression
    return (
        compression is not None
        and bool(compression.with_tool)
        and (call.model, call.status, call.error) == (answering.model, 200, None)
    )


def _with(usage: Usage, tokens: int) -> Usage:
    """Return the tokens with so many more of prompt, of which the provider would have held the same share."""
    held = tokens * min(usage.cached_tokens, usage.input_tokens) // max(1, usage.input_tokens)
    details = PromptDetails(usage.cached_tokens + held, usage.cache_write_tokens)
    return Usage(usage.input_tokens + tokens, usage.output_tokens, details)


def _batch(cost: int, price: Price) -> int:
    return cost if price.batch is None else round(cost * price.batch)
