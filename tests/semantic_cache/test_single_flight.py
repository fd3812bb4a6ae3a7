"""One call for many: who comes when, who leaves when, and what a failure means."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.single_flight import Broadcast, Flight, SingleFlight

Flights: TypeAlias = SingleFlight[str, str, str, int]
KEY = "key"


class Upstream:
    """A scripted call: its steps are released one at a time, and it counts how often it was made."""

    def __init__(self, flights: Flights, error: Exception | None = None) -> None:
        self.flights = flights
        self.calls = 0
        self.cancelled = False
        self.error = error
        self._steps: asyncio.Queue[int | None] = asyncio.Queue()

    def send(self, *items: int | None) -> None:
        for item in items:
            self._steps.put_nowait(item)

    async def start(self, flight: Flight[str, str, int]) -> None:
        self.calls += 1
        try:
            if self.error is not None:
                raise self.error
            flight.head.set_result("head")
            while (item := await self._steps.get()) is not None:
                flight.body.put(item)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def new_flights() -> tuple[Flights, list[tuple[str, str]]]:
    heirs: list[tuple[str, str]] = []
    return SingleFlight(lambda old, new: heirs.append((old, new))), heirs


async def all_items(flight: Flight[str, str, int]) -> list[int]:
    return [item async for item in flight.body.read()]


async def test_everybody_gets_everything_from_one_call() -> None:
    flights, _ = new_flights()
    upstream = Upstream(flights)
    first = flights.board(KEY, "a", upstream.start)
    upstream.send(1, 2)
    readers = [asyncio.create_task(all_items(first))]
    await first.head
    for name in "bcd":
        flight = flights.board(KEY, name, upstream.start)
        assert flight is first
        readers.append(asyncio.create_task(all_items(flight)))
    upstream.send(3, None)
    assert await asyncio.gather(*readers) == [[1, 2, 3]] * 4
    assert upstream.calls == 1
    assert len(flights) == 0, "a finished call takes nobody more"


async def test_the_leader_may_leave_and_an_heir_answers_for_the_call() -> None:
    flights, heirs = new_flights()
    upstream = Upstream(flights)
    flight = flights.board(KEY, "leader", upstream.start)
    flights.board(KEY, "follower", upstream.start)
    flights.leave(KEY, flight, "leader")
    flights.leave(KEY, flight, "leader")
    upstream.send(7, None)
    assert await all_items(flight) == [7]
    assert heirs == [("leader", "follower")]
    assert not upstream.cancelled


async def test_a_follower_that_leaves_changes_nothing() -> None:
    flights, heirs = new_flights()
    upstream = Upstream(flights)
    flight = flights.board(KEY, "leader", upstream.start)
    flights.board(KEY, "follower", upstream.start)
    flights.leave(KEY, flight, "follower")
    upstream.send(7, None)
    assert await all_items(flight) == [7]
    assert heirs == []


async def test_the_last_to_leave_cancels_the_call() -> None:
    flights, _ = new_flights()
    upstream = Upstream(flights)
    flight = flights.board(KEY, "a", upstream.start)
    flights.board(KEY, "b", upstream.start)
    await flight.head
    for name in "ab":
        flights.leave(KEY, flight, name)
    assert len(flights) == 0, "who comes now must not join a dying call"
    assert flight.task is not None
    with pytest.raises(asyncio.CancelledError):
        await flight.task
    assert upstream.cancelled


async def test_a_call_that_is_waited_for_elsewhere_outlives_its_passengers() -> None:
    flights, heirs = new_flights()
    upstream = Upstream(flights)
    flight = flights.board(KEY, "a", upstream.start)
    flights.hold(flight, "elsewhere")
    flights.leave(KEY, flight, "a")
    assert heirs == [("a", "elsewhere")]
    assert flights.board(KEY, "b", upstream.start) is flight
    flights.leave(KEY, flight, "b")
    await flight.head
    assert not upstream.cancelled
    flights.leave(KEY, flight, "elsewhere")
    assert flight.task is not None
    with pytest.raises(asyncio.CancelledError):
        await flight.task
    assert upstream.cancelled
    flights.hold(flight, "too late")
    assert not flight.passengers


async def test_leaving_a_finished_call_makes_no_heirs() -> None:
    flights, heirs = new_flights()
    upstream = Upstream(flights)
    flight = flights.board(KEY, "leader", upstream.start)
    flights.board(KEY, "follower", upstream.start)
    upstream.send(None)
    assert await all_items(flight) == []
    for name in ("leader", "follower"):
        flights.leave(KEY, flight, name)
    assert heirs == []
    assert flight.leader == "leader"


async def test_a_failure_lands_the_flight_before_anybody_hears_of_it() -> None:
    flights, _ = new_flights()
    upstream = Upstream(flights, error=ValueError("no"))
    flight = flights.board(KEY, "a", upstream.start)
    follower = flights.board(KEY, "b", upstream.start)
    with pytest.raises(ValueError, match="no"):
        await asyncio.shield(follower.head)
    again = Upstream(flights)
    second = flights.board(KEY, "b", again.start, attempt=2)
    assert second is not flight
    assert second.attempt == 2
    again.send(None)
    assert await all_items(second) == []


async def test_an_error_in_the_middle_comes_after_what_was_sent() -> None:
    broadcast: Broadcast[int] = Broadcast()
    broadcast.put(1)
    broadcast.end(ValueError("cut"))
    items = broadcast.read()
    assert await anext(items) == 1
    with pytest.raises(ValueError, match="cut"):
        await anext(items)


@given(st.lists(st.sampled_from(["put", "reader", "tick"]), max_size=30))
def test_a_reader_that_comes_at_any_time_reads_all(script: list[str]) -> None:
    async def run() -> None:
        broadcast: Broadcast[int] = Broadcast()
        readers = []
        count = 0

        async def read() -> list[int]:
            return [item async for item in broadcast.read()]

        for step in script:
            if step == "put":
                broadcast.put(count)
                count += 1
            elif step == "reader":
                readers.append(asyncio.create_task(read()))
            else:
                await asyncio.sleep(0)
        broadcast.end()
        for items in await asyncio.gather(*readers):
            assert items == list(range(count))

    asyncio.run(run())
