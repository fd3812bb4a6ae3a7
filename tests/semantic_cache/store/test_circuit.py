"""A failing store is left alone, tried now and then, and complained of once."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from semantic_cache.errors import StoreUnavailable
from semantic_cache.store.base import StoreEvent
from semantic_cache.store.circuit import FIRST_WAIT_S, LONGEST_WAIT_S, QUIET_S, Circuit
from semantic_cache.store.fair_share import level
from tests.semantic_cache.support.samples import Clock

BROKEN = ConnectionError("refused")


@pytest.fixture
def circuit(clock: Clock, events: dict[StoreEvent, int]) -> Circuit:
    def note(event: StoreEvent, count: int) -> None:
        events[event] += count

    return Circuit("redis", note, clock)


def refused(circuit: Circuit) -> bool:
    try:
        circuit.enter()
    except StoreUnavailable:
        return True
    return False


def test_calls_pass_while_all_is_well(circuit: Circuit) -> None:
    assert not refused(circuit)
    circuit.worked()
    assert not refused(circuit)


def test_a_failure_keeps_calls_away_for_a_while_and_then_lets_one_through(
    circuit: Circuit, clock: Clock
) -> None:
    circuit.failed(BROKEN)
    assert refused(circuit)
    clock.now += FIRST_WAIT_S
    assert [refused(circuit) for _ in range(3)] == [False, True, True]
    circuit.worked()
    assert not refused(circuit)


def test_waits_grow_up_to_a_bound(circuit: Circuit, clock: Clock) -> None:
    waits = []
    circuit.failed(BROKEN)
    for _ in range(8):
        started = clock.now
        while refused(circuit):
            clock.now += FIRST_WAIT_S
        waits.append(clock.now - started)
        circuit.failed(BROKEN)
    assert waits[:4] == [0.25, 0.5, 1.0, 2.0]
    assert waits[-1] == LONGEST_WAIT_S


def test_calls_that_were_under_way_do_not_lengthen_the_wait(circuit: Circuit, clock: Clock) -> None:
    for _ in range(50):
        circuit.failed(BROKEN)
    clock.now += FIRST_WAIT_S
    assert not refused(circuit)


def test_a_probe_that_is_given_up_is_followed_by_another(circuit: Circuit, clock: Clock) -> None:
    circuit.failed(BROKEN)
    clock.now += FIRST_WAIT_S
    assert not refused(circuit)
    clock.now += FIRST_WAIT_S
    assert not refused(circuit)


def test_an_outage_is_one_pair_of_lines_and_every_call_is_counted(
    circuit: Circuit, clock: Clock, events: dict[StoreEvent, int]
) -> None:
    with capture_logs() as logs:
        circuit.failed(BROKEN)
        for _ in range(10):
            refused(circuit)
        clock.now += 2
        circuit.enter()
        circuit.worked()
    assert [line["event"] for line in logs] == ["store_unavailable", "store_recovered"]
    assert logs[0]["detail"] == "refused" and logs[1]["calls"] == 11
    assert events[StoreEvent.UNAVAILABLE] == 11


def test_a_store_that_comes_and_goes_does_not_fill_the_log(circuit: Circuit, clock: Clock) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            circuit.failed(BROKEN)
            clock.now += 1
            circuit.enter()
            circuit.worked()
    assert len(logs) == 2
    clock.now += QUIET_S
    with capture_logs() as logs:
        circuit.failed(BROKEN)
    assert len(logs) == 1


@pytest.mark.parametrize(
    ("sizes", "room", "expected"),
    [
        ([], 10, 0),
        ([3, 4], 10, 4),
        ([100, 2], 10, 8),
        ([100, 100], 10, 5),
        ([1, 100, 100], 11, 5),
        ([5], 0, 0),
    ],
)
def test_the_largest_give_way_first(sizes: list[int], room: int, expected: int) -> None:
    assert level(sizes, room) == expected
    assert sum(min(size, expected) for size in sizes) <= room
