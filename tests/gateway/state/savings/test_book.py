"""A worker's part of the savings, on its way to the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from gateway.config.schema import StoreUrl
from gateway.errors import StateUnavailable
from gateway.savings.saved import Saved
from gateway.state.open import open_savings
from gateway.state.savings import book as book_module
from gateway.state.savings.base import ACTUAL, BATCH, DIRECT, UNPRICED, Amount, Place
from gateway.state.savings.book import SavingsBook
from gateway.state.savings.sqlite import SqliteSavings


def saved(direct: int = 10, actual: int = 4, **more: int) -> Saved:
    one = Saved(direct, actual, direct)
    one.add("exact", direct - actual, 0.5)
    for name, value in more.items():
        setattr(one, name, value)
    return one


class Flaky:
    """A store that is out of reach when told so, before or after it has added."""

    def __init__(self, store: SqliteSavings) -> None:
        self.store = store
        self.failing = ""
        self.calls = 0
        self.called = threading.Event()

    def add(self, amounts: Mapping[Place, Amount], batch: str) -> None:
        self.calls += 1
        try:
            if self.failing == "before":
                raise StateUnavailable("down")
            self.store.add(amounts, batch)
            if self.failing == "after":
                raise StateUnavailable("the answer was lost")
        finally:
            self.called.set()

    def read(self, tenant: str | None, first_day: int) -> Sequence[tuple[Place, Amount]]:
        return self.store.read(tenant, first_day)


@pytest.fixture
def store(tmp_path: Path) -> Flaky:
    return Flaky(SqliteSavings(tmp_path / "state.db"))


@pytest.fixture
def book(store: Flaky, outages, clock) -> SavingsBook:
    return SavingsBook(store, outages, clock)


async def amounts(book: SavingsBook, tenant: str = "a", days: int = 1) -> dict[str, Amount]:
    return {place.name: amount for place, amount in await book.read(tenant, days)}


async def test_requests_of_a_tenant_add_up(book: SavingsBook) -> None:
    for _ in range(3):
        book.take("a", saved(), asked_for=True)
    book.take("b", saved(), asked_for=True)
    assert await amounts(book) == {
        DIRECT: Amount(3, 30),
        ACTUAL: Amount(3, 12),
        "exact": Amount(3, 18, 1_500_000),
    }
    await book.close()


async def test_what_nobody_asked_for_is_paid_and_not_counted(book: SavingsBook) -> None:
    book.take("a", saved(0, 7), asked_for=False)
    assert (await amounts(book))[ACTUAL] == Amount(0, 7)
    await book.close()


async def test_requests_without_a_price_are_counted_apart(book: SavingsBook) -> None:
    unpriced = Saved(priced=False)
    unpriced.add("exact", 0, 1.0)
    book.take("a", unpriced, asked_for=True)
    assert await amounts(book) == {UNPRICED: Amount(1), "exact": Amount(1, 0, 1_000_000)}
    await book.close()


async def test_a_batchs_price_is_kept_as_a_difference(book: SavingsBook) -> None:
    book.take("a", saved(batch=5), asked_for=True)
    assert (await amounts(book))[BATCH] == Amount(0, -5)
    await book.close()


async def test_days_are_those_of_utc(book: SavingsBook, clock) -> None:
    clock.now = 86_400 * 20_000 - 1
    book.take("a", saved(), asked_for=True)
    clock.now += 1
    book.take("a", saved(), asked_for=True)
    assert (await amounts(book, days=1))[DIRECT] == Amount(1, 10)
    assert {place.day for place, _ in await book.read("a", 2)} == {19_999, 20_000}
    await book.close()


async def test_a_close_loses_nothing(book: SavingsBook, store: Flaky) -> None:
    book.take("a", saved(), asked_for=True)
    await book.close()
    assert dict(store.read("a", 0))[Place("a", 20_833, DIRECT)] == Amount(1, 10)


async def test_it_is_added_soon_without_being_asked(
    book: SavingsBook, store: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "FLUSH_S", 0.001)
    for calls in (1, 2):
        store.called.clear()
        book.take("a", saved(), asked_for=True)
        assert await asyncio.to_thread(store.called.wait, 20)
        assert store.calls == calls
    await book.close()


@pytest.mark.parametrize("failing", ["before", "after"])
async def test_an_outage_loses_nothing_and_counts_nothing_twice(
    book: SavingsBook, store: Flaky, outages, failing: str
) -> None:
    store.failing = failing
    book.take("a", saved(), asked_for=True)
    with pytest.raises(StateUnavailable):
        await book.read("a", 1)
    book.take("a", saved(), asked_for=True)
    with pytest.raises(StateUnavailable):
        await book.read("a", 1)
    assert len(outages.failures) == 2
    store.failing = ""
    assert (await amounts(book))[DIRECT] == Amount(2, 20)
    await book.close()


async def test_a_close_without_a_store_ends(book: SavingsBook, store: Flaky) -> None:
    store.failing = "before"
    book.take("a", saved(), asked_for=True)
    await book.close()
    assert not store.read("a", 0)


async def test_what_waits_for_a_store_is_bounded(
    book: SavingsBook, store: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_module, "_MOST_PARTS", 1)
    for tenant in ("a", "b", "a"):
        book.take(tenant, saved(), asked_for=True)
    assert (await amounts(book))[DIRECT] == Amount(2, 20)
    assert not await amounts(book, "b")
    await book.close()


async def test_several_workers_over_one_store_add_up(state_url: str, outages) -> None:
    books = [SavingsBook(open_savings(StoreUrl(state_url)), outages) for _ in range(3)]
    for at in range(30):
        books[at % 3].take("a", saved(), asked_for=True)
    await asyncio.gather(*(book.close() for book in books))
    late = SavingsBook(open_savings(StoreUrl(state_url)), outages)
    assert (await amounts(late, days=2))["exact"] == Amount(30, 180, 15_000_000)
    await late.close()
