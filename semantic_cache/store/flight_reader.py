"""Reads what the leader of a call tells, as long as there is a sign of life from it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from semantic_cache.errors import StoreUnavailable
from semantic_cache.store.redis_flights import BEAT_S, LEASE_S, RedisFlights, Seat
from semantic_cache.store.redis_link import FAILURES

_BATCH = 32
_BLOCK_MS = int(BEAT_S * 1000)
_PAUSE_S = 0.1


class LeaderGone(Exception):
    """The leader has lost its lease and says nothing more."""


class Missed(Exception):
    """Something was told that cannot be had any more."""


class FlightReader:
    """One follower's place in what its leader tells."""

    def __init__(self, flights: RedisFlights, seat: Seat) -> None:
        self._flights = flights
        self.seat = seat
        # Waiting here must keep nobody else waiting.
        self._server = flights.connect()
        self._read = 0
        self._alive_at = time.monotonic()
        self._beat_at = self._alive_at + BEAT_S

    async def next(self, *, patient: bool) -> list[bytes]:
        """Wait for what the leader tells next.

        Raises Missed; LeaderGone if the leader has lost its lease; StoreUnavailable if the server does not
        answer. Who is `patient` gives both LEASE_S to come back.
        """
        while True:
            bound = self._alive_at + (LEASE_S if patient else 0.0)
            try:
                if messages := await self._look(_BLOCK_MS):
                    return messages
                if await self._flights.stay(self.seat):
                    self._note_life()
                    continue
                # A leader tells the end before it gives up its lease.
                if messages := await self._look(None):
                    return messages
            except StoreUnavailable:
                if time.monotonic() >= bound:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                if time.monotonic() >= bound:
                    raise LeaderGone

    async def close(self) -> None:
        """Give the place up."""
        self._flights.leave(self.seat)
        await self._flights.disconnect(self._server)

    async def _look(self, block_ms: int | None) -> list[bytes]:
        command: list[Any] = ["XREAD", "COUNT", _BATCH]
        if block_ms is not None:
            command += ["BLOCK", block_ms]
        try:
            found = await self._server.read(*command, "STREAMS", self.seat.lease.stream, f"{self._read}-1")
        except FAILURES as error:
            raise StoreUnavailable("The cache's store does not answer.") from error
        messages = self._in_order(_entries(found))
        if messages:
            self._alive_at = time.monotonic()
            if self._alive_at >= self._beat_at:
                # Who reads without a pause must still be known to read.
                self._note_life()
                with contextlib.suppress(StoreUnavailable):
                    await self._flights.stay(self.seat)
        return messages

    def _note_life(self) -> None:
        self._alive_at = time.monotonic()
        self._beat_at = self._alive_at + BEAT_S

    def _in_order(self, entries: list[Any]) -> list[bytes]:
        messages = []
        for name, fields in entries:
            number = int(bytes(name).partition(b"-")[0])
            if number != self._read + 1:
                raise Missed
            self._read = number
            # The cluster's client has made a dictionary of them.
            messages.append(bytes(fields[b"m"] if isinstance(fields, dict) else fields[1]))
        return messages


def _entries(found: Any) -> list[Any]:
    if not found:
        return []
    if isinstance(found, dict):
        found = list(found.items())
    return list(found[0][1])
