"""What every place for outcomes promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.schema import StoreUrl
from gateway.errors import StateUnavailable
from gateway.state.open import open_outcomes
from gateway.state.outcomes.base import MOST, OutcomeStore, Raised
from router.after.signs import AnswerSigns
from router.online.tried import Tried


@pytest.fixture
def open_store(state_url: str) -> Callable[[], OutcomeStore]:
    return lambda: open_outcomes(StoreUrl(state_url))


@pytest.fixture
def store(open_store: Callable[[], OutcomeStore]) -> OutcomeStore:
    return open_store()


def tried(number: int, tenant: str = "ada") -> Tried:
    signs = AnswerSigns({"sums": float(number), "parts": 0.1}, None, ("logprobs",))
    return Tried(
        f"{tenant}{number}", tenant, "small", 1e9 + number, {"length": 0.2}, signs, number % 2 == 0, 50.0
    )


def test_a_store_that_nobody_wrote_to_is_empty(store: OutcomeStore, tmp_path: Path) -> None:
    assert store.since("auto", {}).tried == ()
    assert not (tmp_path / "folder").exists()


def test_what_is_added_is_there_for_all_in_its_order(
    store: OutcomeStore, open_store: Callable[[], OutcomeStore]
) -> None:
    rows = [tried(1), tried(2, "bob"), tried(3)]
    store.add("auto", rows, [])

    assert list(open_store().since("auto", {}).tried) == rows
    assert open_store().since("other", {}).tried == ()


def test_a_cursor_brings_what_is_new(store: OutcomeStore) -> None:
    store.add("auto", [tried(1)], [])
    cursor = store.since("auto", {}).cursor
    store.add("auto", [tried(2), tried(3, "bob")], [])
    store.add("other", [tried(4)], [])

    fresh = store.since("auto", cursor)

    assert [one.id for one in fresh.tried] == ["ada2", "bob3"]
    assert store.since("auto", fresh.cursor).tried == ()


def test_of_each_tenant_the_latest_are_kept(store: OutcomeStore) -> None:
    store.add("auto", [tried(0, "bob")], [])
    store.add("auto", [tried(number) for number in range(MOST + 30)], [])

    kept = store.since("auto", {}).tried

    assert [one.id for one in kept if one.tenant == "bob"] == ["bob0"]
    assert [one.id for one in kept if one.tenant == "ada"] == [f"ada{n}" for n in range(30, MOST + 30)]


def test_an_alarm_stays_and_a_later_one_takes_its_place(store: OutcomeStore) -> None:
    store.add("auto", [], [Raised("small", "worse", 5.0)])
    store.add("auto", [], [Raised("small", "worse again", 7.5), Raised("middle", "odd", 6.0)])

    assert set(store.since("auto", {}).alarms) == {
        Raised("small", "worse again", 7.5),
        Raised("middle", "odd", 6.0),
    }


def test_an_alarm_that_comes_late_does_not_take_the_place_of_a_later_one(store: OutcomeStore) -> None:
    at = 1_764_356_178.123456
    store.add("auto", [], [Raised("small", "worse again", at + 1e-3)])
    store.add("auto", [], [Raised("small", "worse", at)])

    assert store.since("auto", {}).alarms == (Raised("small", "worse again", at + 1e-3),)


@pytest.mark.parametrize("route", ["a}b", "a%7Db", "ü {x}"])
def test_any_name_is_a_route(store: OutcomeStore, route: str) -> None:
    store.add(route, [tried(1)], [])

    assert [one.id for one in store.since(route, {}).tried] == ["ada1"]
    assert store.since("a", {}).tried == ()


def test_a_store_out_of_reach_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url in (f"sqlite://{tmp_path}/file/state.db", "redis://127.0.0.1:9/0"):
        with pytest.raises(StateUnavailable):
            open_outcomes(StoreUrl(url)).add("auto", [tried(1)], [])
