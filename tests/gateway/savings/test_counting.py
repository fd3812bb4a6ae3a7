"""What is counted of a request and of those that it makes, each once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.exchange import Exchange
from gateway.savings.counterfactual import Counterfactual
from gateway.savings.counting import Savings
from gateway.state.outage import Outage
from gateway.state.savings.book import SavingsBook
from gateway.state.savings.sqlite import SqliteSavings
from gateway.state.savings.summary import Summary, summary
from telemetry.metrics import GatewayMetrics
from tests.gateway.savings.test_counterfactual import PLAIN, call, exchange


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics()


@pytest.fixture
async def book(tmp_path: Path, metrics: GatewayMetrics) -> AsyncIterator[SavingsBook]:
    book = SavingsBook(SqliteSavings(tmp_path / "state.db"), Outage("savings", metrics))
    yield book
    await book.close()


@pytest.fixture
def savings(book: SavingsBook, metrics: GatewayMetrics) -> Savings:
    return Savings(Counterfactual(()), book, metrics)


async def total(book: SavingsBook) -> Summary:
    return summary(await book.read("t", 2))


def asked() -> Exchange:
    ex = exchange(PLAIN)
    ex.calls.append(call(PLAIN, 100, 10))
    return ex


def inner_of(outer: Exchange) -> Exchange:
    inner = exchange(PLAIN, origin=outer)
    inner.calls.append(call(PLAIN, 10, 0))
    outer.inner.append(inner)
    return inner


@pytest.mark.parametrize("first", ["inner", "outer"])
async def test_a_request_and_what_it_asks_are_counted_once_each_in_any_order(
    savings: Savings, book: SavingsBook, first: str
) -> None:
    outer = asked()
    inner = inner_of(outer)
    deeper = inner_of(inner)
    order = [deeper, inner, outer] if first == "inner" else [outer, inner, deeper]
    shown = {id(ex): savings.settle(ex) for ex in order}
    # The record of the one that asked shows all of it.
    record = shown[id(outer)]
    assert record is not None
    assert (record.direct_usd, record.actual_usd) == (0.0012, 0.0014)
    assert record.layers == {"subrequests": -0.0002}
    found = await total(book)
    assert (found.requests, found.direct_usd, found.actual_usd) == (1, 0.0012, 0.0014)
    assert found.layers["subrequests"].usd == -0.0002
    assert found.layers["subrequests"].requests == 2


async def test_an_answer_of_subrequests_alone_shows_what_they_cost(
    savings: Savings, book: SavingsBook
) -> None:
    outer = exchange(PLAIN)
    savings.settle(inner_of(outer))
    record = savings.settle(outer)
    assert record is not None
    assert (record.direct_usd, record.actual_usd, record.layers) == (0.0, 0.0001, {"subrequests": -0.0001})
    assert (await total(book)).actual_usd == 0.0001


async def test_what_it_says_so_far_counts_nothing(savings: Savings, book: SavingsBook) -> None:
    record = savings.so_far(asked())
    assert record is not None and record.direct_usd == 0.0012
    assert (await total(book)).requests == 0


async def test_a_fault_of_ours_costs_a_figure_and_nothing_else(
    savings: Savings, book: SavingsBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Counterfactual, ex: Exchange) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Counterfactual, "saved", broken)
        assert savings.settle(asked()) is None
        assert savings.so_far(asked()) is None
    assert savings.settle(asked()) is not None
    assert (await total(book)).requests == 1


async def test_losses_are_counters_of_their_own(savings: Savings, metrics: GatewayMetrics) -> None:
    savings.settle(inner_of(asked()))
    page = metrics.render()[0].decode()
    labels = '{layer="subrequests",tenant="t"}'
    assert f"forebay_savings_added_usd_total{labels} 0.0001" in page
    assert f"forebay_savings_usd_total{labels}" not in page
