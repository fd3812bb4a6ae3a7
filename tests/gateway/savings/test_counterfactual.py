"""What each layer of a request saved, and that nothing is lost or counted twice on the way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache_state import CacheState
from gateway.compression.outcome import Compression
from gateway.config.schema import Model, Price
from gateway.exchange import Call, Exchange, Route, Scoring, Tiers
from gateway.savings.counterfactual import Counterfactual
from gateway.savings.saved import Saved
from gateway.window.outcome import Fitted
from gateway.wire.request import Endpoint
from gateway.wire.splice import Edit
from gateway.wire.usage import PromptDetails, Usage
from semantic_cache.directives import Directives
from semantic_cache.entry import Entry

# A thousand nano-dollars are a token at a dollar a million.
SMALL = Model("engine", "tiny", Price(input=1, output=2, cache_read=0.5))
LARGE = Model("far", "huge", Price(input=10, output=20, cache_read=5, batch=0.5))
PLAIN = Model("far", "huge", Price(input=10, output=20))


def route(*models: Model) -> Route:
    routes = tuple(Route(f"m{at}", f"m{at}", model, "x") for at, model in enumerate(models))
    if len(routes) == 1:
        return routes[0]
    # The policy plays no part once the calls are made.
    tiers = Tiers(routes, None)  # type: ignore[arg-type]
    return Route("auto", routes[-1].model, models[-1], "x", tiers)


def exchange(*models: Model, **more: Any) -> Exchange:
    async def receive(limit: int) -> bytes:
        return b""

    ex = Exchange(more.pop("endpoint", Endpoint.CHAT), {}, receive, **more)
    ex.tenant, ex.status, ex.route = "t", 200, route(*models)
    return ex


def call(model: Model, read: int, written: int, cached: int = 0, name: str = "m0", **more: Any) -> Call:
    made = Call(model.upstream, name, model, started_s=10.0, ended_s=12.0, status=200, **more)
    made.outcome.usage = Usage(read, written, PromptDetails(cached))
    return made


def shorter(tokens: int, *, with_tool: bool = False) -> Compression:
    edits = (Edit(0, 4 * tokens + 8, b"x" * 8),) if tokens >= 0 else (Edit(0, 0, b"x" * -4 * tokens),)
    return Compression(
        "lossless", edits, 1000 + tokens, 1000, {}, False, 0.0, with_tool=edits if with_tool else ()
    )


def stored(ex: Exchange, verdict: Any, *usages: Usage | None, endpoint: str = "chat") -> None:
    entries = []
    for usage in usages:
        body: dict[str, Any] = {"usage": usage}
        if endpoint == "embeddings":
            body = {"model": "m", "embedding": [1], "tokens": None if usage is None else usage.input_tokens}
        answer = msgspec.json.encode(body)
        entries.append(
            Entry(
                endpoint=endpoint,
                model="m",
                answer=answer,
                has_usage=True,
                created_at=0,
                expires_at=1,
                stale_until=1,
                cost_s=3.0,
            )
        )
    ex.cache = CacheState(Directives(), verdict=verdict, stored=tuple(entries))


def of(ex: Exchange, engines: tuple[str, ...] = ("engine",)) -> Saved:
    saved = Counterfactual(engines).saved(ex)
    assert saved is not None
    assert saved.direct - saved.actual == sum(layer.nano_usd for layer in saved.layers.values())
    return saved


def money(saved: Saved) -> dict[str, int]:
    return {name: layer.nano_usd for name, layer in saved.layers.items()}


def test_a_request_that_nothing_changed_saved_nothing() -> None:
    ex = exchange(LARGE)
    ex.calls.append(call(LARGE, 100, 10))
    saved = of(ex)
    assert (saved.direct, saved.actual, saved.layers) == (1_200_000, 1_200_000, {})


def test_the_discount_of_the_providers_own_cache_is_no_saving_of_ours() -> None:
    ex = exchange(LARGE)
    ex.calls.append(call(LARGE, 2000, 10, cached=1024))
    saved = of(ex)
    assert saved.direct == saved.actual == (976 * 10 + 1024 * 5 + 200) * 1000
    assert not saved.layers


@pytest.mark.parametrize(
    ("verdict", "layer"),
    [
        ("hit-exact", "exact"),
        ("stale", "exact"),
        ("hit-semantic", "semantic"),
        ("coalesced", "coalesced"),
    ],
)
def test_a_stored_answer_saves_what_its_tokens_cost(verdict: str, layer: str) -> None:
    ex = exchange(PLAIN)
    stored(ex, verdict, Usage(100, 10))
    saved = of(ex)
    assert (saved.actual, money(saved)) == (0, {layer: 1_200_000})


def test_of_a_repeated_prompt_what_the_provider_would_have_held_is_discounted() -> None:
    ex = exchange(LARGE)
    stored(ex, "hit-exact", Usage(1100, 10))
    assert of(ex).direct == ((1100 - 1024) * 10 + 1024 * 5 + 200) * 1000
    stored(ex, "hit-exact", Usage(1023, 10))
    assert of(ex).direct == (1023 * 10 + 200) * 1000


def test_who_follows_a_call_saves_what_its_leader_paid() -> None:
    ex = exchange(PLAIN)
    ex.cache = CacheState(Directives(), verdict="coalesced", followed=[call(PLAIN, 100, 10)])
    assert money(of(ex)) == {"coalesced": 1_200_000}


def test_who_follows_a_call_into_its_error_saves_nothing() -> None:
    ex = exchange(PLAIN)
    failed = call(PLAIN, 0, 0)
    failed.outcome.usage, failed.status, failed.error = None, 400, "400"
    ex.cache = CacheState(Directives(), verdict="coalesced", followed=[failed])
    ex.status = 400
    assert Counterfactual(()).saved(ex) is None


def test_an_heir_pays_for_the_call_and_saves_nothing() -> None:
    ex = exchange(PLAIN)
    ex.calls.append(call(PLAIN, 100, 10))
    ex.cache = CacheState(Directives(), verdict="coalesced", followed=ex.calls)
    assert (of(ex).actual, money(of(ex))) == (1_200_000, {})


def test_tokens_that_compression_took_away_would_have_been_paid_for() -> None:
    ex = exchange(LARGE)
    ex.calls.append(call(LARGE, 2000, 10, compression=shorter(500)))
    assert money(of(ex)) == {"compression": 500 * 10_000}


def test_what_a_scorer_read_for_it_is_taken_off() -> None:
    ex = exchange(LARGE)
    ex.calls.append(call(LARGE, 2000, 10, compression=shorter(500)))
    ex.scorings.append(Scoring("small", SMALL, Usage(300, 2), 0.1))
    saved = of(ex)
    assert money(saved) == {"compression": 500 * 10_000 - 304 * 1_000}
    assert saved.layers["compression"].requests == 1
    assert saved.direct - saved.actual == sum(money(saved).values())


def test_the_provider_would_have_held_the_same_share_of_them() -> None:
    ex = exchange(LARGE)
    ex.calls.append(call(LARGE, 2000, 10, cached=1000, compression=shorter(500)))
    assert money(of(ex)) == {"compression": 250 * 10_000 + 250 * 5_000}


def test_what_the_model_asked_back_for_is_compressions_to_pay() -> None:
    ex = exchange(PLAIN)
    ex.calls += [
        call(PLAIN, 1000, 20, compression=shorter(500, with_tool=True)),
        # What was found is in the prompt now: the rest is all that was left out of it.
        call(PLAIN, 1300, 10, compression=shorter(200, with_tool=True)),
    ]
    saved = of(ex)
    assert (saved.direct, saved.actual) == (15_200_000, 10_400_000 + 13_200_000)
    assert money(saved) == {"compression": -8_400_000}
    assert saved.layers["compression"].requests == 1


def test_a_prompt_that_was_too_long_has_nothing_to_be_compared_with() -> None:
    ex = exchange(PLAIN)
    fitted = Fitted("turns", "m0", 1000, 5000, 900, True, 0, 4, 0, 0.1, True)
    ex.calls.append(call(PLAIN, 100, 10, compression=shorter(4000), fitted=fitted))
    saved = of(ex)
    assert (saved.direct, saved.actual, saved.layers) == (1_200_000, 1_200_000, {})


def test_a_smaller_models_answer_saves_the_difference() -> None:
    ex = exchange(SMALL, LARGE)
    ex.calls.append(call(SMALL, 100, 10))
    saved = of(ex)
    assert (saved.actual, money(saved)) == (120_000, {"cascade": 1_080_000})


def test_an_escalation_pays_twice_and_says_so() -> None:
    ex = exchange(SMALL, LARGE)
    ex.calls += [call(SMALL, 100, 10), call(LARGE, 100, 12, name="m1")]
    saved = of(ex)
    assert (saved.direct, saved.actual) == (1_240_000, 1_360_000)
    assert money(saved) == {"escalation": -120_000}
    assert saved.layers["escalation"].seconds == -2.0


def test_a_small_model_that_is_dearer_saves_less_than_nothing() -> None:
    ex = exchange(LARGE, SMALL)
    ex.calls.append(call(LARGE, 100, 10))
    assert money(of(ex, engines=())) == {"cascade": -1_080_000}


def test_the_engines_prefix_cache_is_ours() -> None:
    ex = exchange(SMALL)
    ex.calls.append(call(SMALL, 1000, 10, cached=800))
    assert money(of(ex)) == {"prefix": 800 * 500}


def test_all_of_it_at_once_adds_up() -> None:
    ex = exchange(SMALL, LARGE)
    ex.calls.append(call(SMALL, 2000, 10, cached=1100, compression=shorter(100)))
    assert money(of(ex)) == {
        "compression": 49 * 10_000 + 51 * 5_000,
        "cascade": (976 * 10 + 1024 * 5 + 200 - 2000 - 20) * 1000,
        "prefix": 1100 * 500,
    }


def test_a_request_of_our_own_is_pure_cost() -> None:
    outer = exchange(LARGE)
    ex = exchange(LARGE, origin=outer)
    ex.calls.append(call(LARGE, 100, 10))
    saved = of(ex)
    assert (saved.direct, money(saved)) == (0, {"subrequests": -1_200_000})


def test_so_is_a_refresh_for_which_nobody_waits() -> None:
    ex = exchange(LARGE, asked_for=False)
    ex.calls.append(call(LARGE, 100, 10))
    assert money(of(ex)) == {"refresh": -1_200_000}


def test_a_refresh_pays_for_what_a_scorer_read_as_well() -> None:
    ex = exchange(LARGE, asked_for=False)
    ex.calls.append(call(LARGE, 100, 10))
    ex.scorings.append(Scoring("small", SMALL, Usage(300, 2), 0.1))
    assert (of(ex).actual, money(of(ex))) == (1_504_000, {"refresh": -1_504_000})


def test_an_error_after_a_small_models_answer_saves_nothing() -> None:
    ex = exchange(SMALL, LARGE)
    failed = call(LARGE, 0, 0, name="m1")
    failed.outcome.usage, failed.status, failed.error = None, 429, "429"
    ex.calls += [call(SMALL, 10, 2), failed]
    ex.status = 429
    saved = of(ex)
    assert (saved.direct, saved.actual, money(saved)) == (0, 14_000, {"escalation": -14_000})


def test_known_items_of_an_embeddings_request_are_saved_and_the_others_paid() -> None:
    price = Model("far", "vectors", Price(input=10))
    ex = exchange(price, endpoint=Endpoint.EMBEDDINGS)
    ex.calls.append(call(price, 7, 0))
    stored(ex, "miss", Usage(3), Usage(4), endpoint="embeddings")
    saved = of(ex)
    assert (saved.direct, saved.actual, money(saved)) == (140_000, 70_000, {"exact": 70_000})


def test_a_batch_is_compared_at_its_own_price() -> None:
    ex = exchange(LARGE)
    ex.calls.append(call(LARGE, 100, 10))
    assert of(ex).batch == 600_000


@pytest.mark.parametrize("model", [Model("far", "huge"), LARGE])
def test_what_has_no_price_or_no_count_has_no_sum(model: Model) -> None:
    ex = exchange(model)
    ex.calls.append(call(model, 100, 10))
    if model is LARGE:
        ex.calls[0].outcome.usage = None
    saved = of(ex)
    assert not saved.priced
    assert (saved.direct, saved.actual) == (0, 0)


@pytest.mark.parametrize(
    "usage", [Usage(10**30), Usage(-1), Usage(1, 10**12), Usage(1, 1, PromptDetails(-5))]
)
def test_numbers_that_cannot_be_are_none(usage: Usage) -> None:
    ex = exchange(LARGE)
    ex.calls.append(call(LARGE, 100, 10))
    ex.calls[0].outcome.usage = usage
    assert not of(ex).priced


def test_a_failed_call_costs_nothing() -> None:
    ex = exchange(LARGE)
    failed = call(LARGE, 0, 0)
    failed.outcome.usage, failed.status, failed.error = None, 500, "500"
    ex.calls += [failed, call(LARGE, 100, 10)]
    assert (of(ex).direct, of(ex).actual) == (1_200_000, 1_200_000)
    ex.calls.pop()
    ex.status = 500
    assert Counterfactual(()).saved(ex) is None


def test_refused_requests_are_not_compared() -> None:
    ex = exchange(LARGE)
    ex.route = None
    assert Counterfactual(()).saved(ex) is None


def test_seconds_are_those_that_the_model_was_seen_to_take() -> None:
    counterfactual = Counterfactual(())
    for written in range(1, 20):
        seen = exchange(PLAIN)
        made = call(PLAIN, 100, written)
        made.ended_s = made.started_s + 0.5 + 0.1 * written
        seen.calls.append(made)
        counterfactual.see(seen)
    ex = exchange(PLAIN)
    stored(ex, "hit-exact", Usage(100, 50))
    saved = counterfactual.saved(ex)
    assert saved is not None
    assert saved.layers["exact"].seconds == pytest.approx(5.5, abs=0.2)


def test_of_a_model_that_was_not_seen_the_stored_time_counts() -> None:
    ex = exchange(PLAIN)
    stored(ex, "hit-exact", Usage(100, 50))
    assert of(ex).layers["exact"].seconds == pytest.approx(3.0, abs=0.2)


TOKENS = st.integers(0, 200_000)
PRICES = st.none() | st.floats(0, 100)
MODELS = st.builds(
    lambda upstream, name, price: Model(upstream, name, price),
    st.sampled_from(["engine", "far"]),
    st.sampled_from(["a", "b"]),
    st.none()
    | st.builds(Price, st.floats(0, 100), st.floats(0, 100), PRICES, PRICES, st.none() | st.floats(0, 1)),
)


@st.composite
def exchanges(draw: st.DrawFn, *, inner: bool = True) -> Exchange:
    models = draw(st.lists(MODELS, min_size=1, max_size=3))
    ex = exchange(*models, endpoint=draw(st.sampled_from(list(Endpoint))))
    for model in draw(st.lists(st.sampled_from(models), max_size=3)):
        made = call(model, draw(TOKENS), draw(TOKENS), draw(TOKENS))
        made.status = draw(st.sampled_from([200, 500, None]))
        made.error = draw(st.sampled_from([None, "500", "client_disconnect"]))
        if draw(st.booleans()):
            made.compression = shorter(draw(st.integers(-10, 10_000)), with_tool=draw(st.booleans()))
        if draw(st.booleans()) and draw(st.booleans()):
            made.outcome.usage = None
        ex.calls.append(made)
    if draw(st.booleans()):
        verdict = draw(st.sampled_from(["hit-exact", "hit-semantic", "coalesced", "stale", "miss", "bypass"]))
        usages = draw(st.lists(st.none() | st.builds(Usage, TOKENS, TOKENS), max_size=2))
        kind = "embeddings" if ex.endpoint is Endpoint.EMBEDDINGS else "chat"
        stored(ex, verdict, *usages, endpoint=kind)
    if inner and draw(st.booleans()):
        ex.origin = exchange(LARGE)
    ex.asked_for = draw(st.booleans())
    ex.status = draw(st.sampled_from([200, 500, None]))
    return ex


@settings(max_examples=300, deadline=None)
@given(exchanges())
def test_layers_always_add_up_to_the_difference(ex: Exchange) -> None:
    saved = Counterfactual(("engine",)).saved(ex)
    if saved is not None:
        assert saved.direct - saved.actual == sum(layer.nano_usd for layer in saved.layers.values())
        assert saved.priced or (saved.direct, saved.actual, saved.batch) == (0, 0, 0)
        assert all(isinstance(layer.nano_usd, int) for layer in saved.layers.values())
