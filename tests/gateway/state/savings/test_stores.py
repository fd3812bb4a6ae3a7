"""What every place for savings promises."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from gateway.config.schema import StoreUrl
from gateway.errors import StateUnavailable
from gateway.state.open import open_savings
from gateway.state.savings.base import KEPT_DAYS, Amount, Place, SavingsStore, day_of

DAY = 30_000
Open = Callable[[], SavingsStore]


@pytest.fixture
def open_store(state_url: str) -> Open:
    return lambda: open_savings(StoreUrl(state_url))


@pytest.fixture
def store(open_store: Open) -> SavingsStore:
    return open_store()


def place(name: str = "exact", tenant: str = "a", day: int = DAY) -> Place:
    return Place(tenant, day, name)


def test_a_store_that_nobody_wrote_to_is_empty(store: SavingsStore, tmp_path: Path) -> None:
    assert not store.read(None, 0)
    assert not (tmp_path / "folder").exists()


def test_amounts_add_up_at_their_places(store: SavingsStore, open_store: Open) -> None:
    store.add({place(): Amount(1, 10**12, 5), place("cascade"): Amount(1, -7, -9)}, "one")
    open_store().add({place(): Amount(2, 1, 6), place(tenant="b"): Amount(1, 1, 1)}, "two")
    assert list(store.read("a", 0)) == [
        (place("cascade"), Amount(1, -7, -9)),
        (place("exact"), Amount(3, 10**12 + 1, 11)),
    ]
    assert [at.tenant for at, _ in store.read(None, 0)] == ["a", "a", "b"]
    assert not store.read("nobody", 0)


def test_days_are_apart(store: SavingsStore) -> None:
    for day in (DAY - 1, DAY, DAY + 2):
        store.add({place(day=day): Amount(day)}, f"day {day}")
    assert [at.day for at, _ in store.read("a", DAY)] == [DAY, DAY + 2]


def test_a_batch_that_is_sent_again_adds_nothing(store: SavingsStore, open_store: Open) -> None:
    for _ in range(3):
        open_store().add({place(): Amount(1, 2, 3)}, "the same")
    assert list(store.read("a", 0)) == [(place(), Amount(1, 2, 3))]


def test_several_writers_lose_nothing(store: SavingsStore, open_store: Open) -> None:
    def write(writer: int) -> None:
        own = open_store()
        for at in range(20):
            own.add({place(): Amount(1, 10, 100), place(tenant=f"t{writer}"): Amount(1)}, f"{writer} {at}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert list(store.read("a", 0)) == [(place(), Amount(80, 800, 8000))]
    assert sum(amount.requests for _, amount in store.read(None, 0)) == 160


def test_a_store_out_of_reach_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"not a database" * 100)
    (tmp_path / "folder.db").mkdir()
    for url in (f"sqlite://{tmp_path}/bad.db", f"sqlite://{tmp_path}/folder.db", "redis://127.0.0.1:1/0"):
        unreachable = open_savings(StoreUrl(url))
        with pytest.raises(StateUnavailable):
            unreachable.add({place(): Amount(1)}, "one")
        with pytest.raises(StateUnavailable):
            unreachable.read(None, 0)


def test_what_is_too_old_goes(tmp_path: Path, redis_server) -> None:
    today = day_of(time.time())
    url = f"sqlite://{tmp_path}/state.db"
    old, young = place(day=today - KEPT_DAYS - 1), place(day=today - KEPT_DAYS)
    open_savings(StoreUrl(url)).add({old: Amount(1), young: Amount(1)}, "one")
    open_savings(StoreUrl(url)).add({place(day=today): Amount(1)}, "two")
    assert [at.day for at, _ in open_savings(StoreUrl(url)).read("a", 0)] == [young.day, today]
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        open_savings(StoreUrl(redis_server.url)).add({place(day=today): Amount(1)}, "one")
        left = [client.ttl(key) for key in client.keys("forebay:{savings}:*:a")]
    assert len(left) == 1
    assert (KEPT_DAYS - 1) * 86_400 <= left[0] <= (KEPT_DAYS + 1) * 86_400


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    open_savings(StoreUrl(f"sqlite://{tmp_path}/folder/state.db")).add({place(): Amount(1)}, "one")
    for path in (tmp_path / "folder", tmp_path / "folder" / "state.db"):
        assert os.stat(path).st_mode & 0o077 == 0


def test_a_failed_addition_adds_nothing_at_all(tmp_path: Path) -> None:
    store = open_savings(StoreUrl(f"sqlite://{tmp_path}/state.db"))
    with pytest.raises((StateUnavailable, OverflowError)):
        store.add({place(): Amount(1), place("cascade"): Amount(1, 2**70)}, "one")
    with sqlite3.connect(tmp_path / "state.db") as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'savings'").fetchone() == (0,)
    db.close()
