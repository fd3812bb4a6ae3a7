"""One call for many who ask the same at the same time, streams included.

The call runs in a task of its own, so nobody who leaves takes it down, whoever's request began it. Passengers
read what has come so far and then live. When the passenger who answers for the call (its cost, its limits)
leaves, another becomes its heir; when the last one leaves, the call is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
P = TypeVar("P", bound=Hashable)
H = TypeVar("H")
T = TypeVar("T")


class Broadcast(Generic[T]):
    """A sequence of items that any number of readers follow, each from the beginning."""

    __slots__ = ("_ended", "_error", "_items", "_waiting")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._ended = False
        self._error: BaseException | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def put(self, item: T) -> None:
        """Add an item and wake the readers."""
        self._items.append(item)
        self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """Say that nothing more will come; readers get `error` raised after the last item."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake()

    @property
    def ended(self) -> bool:
        return self._ended

    async def read(self) -> AsyncIterator[T]:
        """Yield all items, old and new, until the end."""
        position = 0
        while True:
            while position < len(self._items):
                item = self._items[position]
                position += 1
                yield item
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)


class Flight(Generic[P, H, T]):
    """One call under way. Its head says what comes, or raises why nothing does; its body follows."""

    __slots__ = ("attempt", "body", "head", "leader", "passengers", "task")

    def __init__(self, leader: P, attempt: int) -> None:
        self.leader = leader
        """Who answers for the call now."""
        self.attempt = attempt
        """1, or 2 for the call that a follower makes after the first one failed."""
        self.head: asyncio.Future[H] = asyncio.get_running_loop().create_future()
        self.body: Broadcast[T] = Broadcast()
        self.passengers: dict[P, None] = {}
        self.task: asyncio.Task[None] | None = None


class SingleFlight(Generic[K, P, H, T]):
    """The flights of one process."""

    def __init__(self, on_heir: Callable[[P, P], None]) -> None:
        """`on_heir(old, new)` is called when the leader of a flight leaves and another takes over."""
        self._flights: dict[K, Flight[P, H, T]] = {}
        self._on_heir = on_heir

    def __len__(self) -> int:
        return len(self._flights)

    def board(
        self,
        key: K,
        passenger: P,
        start: Callable[[Flight[P, H, T]], Awaitable[None]],
        *,
        attempt: int = 1,
    ) -> Flight[P, H, T]:
        """Join the flight of this key, or begin one.

        `start` makes the call: it sets the flight's head, calls `land` once nobody more may join, and ends
        its body. Whatever it leaves undone is undone here. The passenger must `leave` in the end.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(passenger, attempt)
            flight.task = asyncio.create_task(self._fly(key, flight, start))
        flight.passengers[passenger] = None
        return flight

    def hold(self, flight: Flight[P, H, T], passenger: P) -> None:
        """Put somebody on a flight under way who waits for it elsewhere; he must `leave` in the end."""
        if flight.passengers:
            # Else all have left, and the call is being cancelled.
            flight.passengers[passenger] = None

    def land(self, key: K, flight: Flight[P, H, T]) -> None:
        """Let nobody more join."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def leave(self, key: K, flight: Flight[P, H, T], passenger: P) -> None:
        """Take a passenger off; later calls do nothing."""
        if passenger not in flight.passengers:
            return
        del flight.passengers[passenger]
        if flight.body.ended:
            # The call is over, and whoever led it then answers for it.
            return
        if not flight.passengers:
            self.land(key, flight)
            if flight.task is not None:
                flight.task.cancel()
        elif passenger == flight.leader:
            flight.leader = next(iter(flight.passengers))
            self._on_heir(passenger, flight.leader)

    async def _fly(
        self, key: K, flight: Flight[P, H, T], start: Callable[[Flight[P, H, T]], Awaitable[None]]
    ) -> None:
        error: BaseException | None = None
        try:
            await start(flight)
        except asyncio.CancelledError as cancelled:
            error = cancelled
            raise
        except BaseException as failure:
            error = failure
        finally:
            # Landed before anybody hears of a failure: the first follower to wake up begins a new flight.
            self.land(key, flight)
            if not flight.head.done():
                if error is None or isinstance(error, asyncio.CancelledError):
                    flight.head.cancel()
                else:
                    flight.head.set_exception(error)
                    # Heard by whoever waits; with nobody left it is no news.
                    flight.head.exception()
            flight.body.end(error)
