"""Lets gateways over one Redis share calls: one has the lease of a key and makes the call, the others follow.

A lease lasts LEASE_S from its last renewal, and its leader renews it every BEAT_S. What the leader tells is
numbered, so a follower never takes an answer with a hole for a whole one, whatever became of the server. Each
follower reads on a connection of its own, since it waits there; all else goes the way of the store's reads,
behind the store's circuits.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from redis.exceptions import ResponseError

from semantic_cache.errors import StoreUnavailable
from semantic_cache.scope import ExactKey
from semantic_cache.store import flight_scripts as scripts
from semantic_cache.store.background import Background
from semantic_cache.store.redis_address import RedisAddress
from semantic_cache.store.redis_link import FAILURES, Cluster, OneServer, RedisLink, server_of, split_url
from semantic_cache.store.redis_pipe import RedisConnection
from semantic_cache.store.redis_scripts import entry_prefix, member_of, tag_of

LEASE_S = 3.0
BEAT_S = 1.0
# Under load a reply that is there may be seen late, and here nobody is kept waiting by that.
_READ_S = 2 * BEAT_S
_LEFT_MS = int(LEASE_S * 1000)
# Longer than a follower may be out of touch before it gives up.
_STREAM_MS = 2 * _LEFT_MS
_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make the call of a key, as its leader's token names it."""

    name: str
    token: str

    @property
    def readers(self) -> str:
        """The key of those who follow."""
        return f"{self.name}:{self.token}:r"

    @property
    def stream(self) -> str:
        """The key of what the leader tells."""
        return f"{self.name}:{self.token}:s"


class Taken(NamedTuple):
    """The lease is ours."""

    lease: Lease
    stored: bool
    """The key has an entry: perhaps the answer of the leader before."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A follower's place: whom it follows, and what it is called there."""

    lease: Lease
    reader: str


class Standing(NamedTuple):
    """What a leader learns with every beat."""

    held: bool
    readers: int


class RedisFlights:
    """The leases of one gateway. All calls raise StoreUnavailable, and nothing else."""

    def __init__(self, url: str, link: RedisLink) -> None:
        self._url = url
        self._link = link
        self._reads: OneServer | Cluster | None = None
        self._on_followed: Callable[[str], None] = lambda token: None
        self._gateway = secrets.token_hex(12)
        self._listening: asyncio.Task[None] | None = None
        self._background = Background()
        self._closing = False

    def bind(self, on_followed: Callable[[str], None]) -> None:
        """Say what is told the token of a lease that somebody has begun to follow."""
        self._on_followed = on_followed

    def start(self) -> None:
        """Begin to listen."""
        self._listening = asyncio.create_task(self._listen())

    async def take(self, key: ExactKey, kind: str) -> Taken | Seat:
        """Take the lease of a key, or a place behind who has it; in one round trip."""
        tag, member = tag_of(key.tenant), member_of(key.digest)
        name = scripts.lease_key(tag, member, kind)
        own, reader = Lease(name, f"{self._gateway}.{secrets.token_hex(8)}"), secrets.token_hex(8)
        keys = [name, entry_prefix(tag) + member]
        asked = self._link.ask(scripts.TAKE, keys, own.token, reader, _LEFT_MS, scripts.CHANNELS)
        try:
            holder, stored = await asked
        except asyncio.CancelledError:
            # It may have been taken all the same.
            self._background.begin(self._give_up(own))
            raise
        except StoreUnavailable as error:
            if error.__cause__ is not None:
                # The same; without a cause nothing was sent.
                self._background.begin(self._give_up(own))
            raise
        if holder.decode() != own.token:
            return Seat(Lease(name, holder.decode()), reader)
        return Taken(own, bool(stored))

    async def renew(self, lease: Lease) -> Standing:
        """Hold on to a lease."""
        keys = [lease.name, lease.readers, lease.stream]
        held, readers = await self._link.ask(scripts.RENEW, keys, lease.token, _LEFT_MS)
        return Standing(bool(held), readers)

    async def tell(
        self, lease: Lease, number: int, message: bytes, *, oldest: int, release: bool = False
    ) -> None:
        """Tell the followers a message. What is told again under its number is told once.

        Messages before number `oldest` are dropped. `release` gives the lease up in the same step.
        """
        keys = [lease.name, lease.stream]
        arguments = (lease.token, number, oldest, message, _STREAM_MS, int(release))
        await self._link.ask(scripts.TELL, keys, *arguments)

    async def release(self, lease: Lease, *, told: bool) -> bool:
        """Give a lease up. False says that somebody follows who has been told nothing: it is still ours."""
        keys = [lease.name, lease.readers]
        return not await self._link.ask(scripts.RELEASE, keys, lease.token, int(told))

    async def any_reader(self, lease: Lease) -> str | None:
        """Return one of those who follow."""
        reader = await self._link.ask(scripts.ANY_READER, [lease.readers])
        return None if reader is None else bytes(reader).decode()

    async def stay(self, seat: Seat) -> bool:
        """Go on following; return whether the leader still has its lease."""
        keys = [seat.lease.name, seat.lease.readers]
        return bool(await self._link.ask(scripts.STAY, keys, seat.lease.token, seat.reader, _LEFT_MS))

    def leave(self, seat: Seat) -> None:
        """Follow no longer; nobody waits for that to be known."""
        self._background.begin(self._leave(seat))

    def connect(self) -> OneServer | Cluster:
        """Return a connection for reads that wait."""
        if not self._link.many_nodes:
            return OneServer(split_url(self._url)[0], _READ_S)
        if self._reads is None:
            # To learn the slots takes long, and this client gives each read a connection of its own anyway.
            self._reads = server_of(self._url, _READ_S)
        return self._reads

    async def disconnect(self, connection: OneServer | Cluster) -> None:
        """Close what `connect` returned, unless others use it."""
        if connection is not self._reads:
            await connection.close()

    async def close(self) -> None:
        """End what goes on in the background."""
        self._closing = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        await self._background.finish()
        if self._reads is not None:
            await self._reads.close()

    async def _give_up(self, lease: Lease) -> None:
        """Release a lease as soon as the server answers, while there can be one."""
        until = time.monotonic() + LEASE_S
        while True:
            try:
                await self.release(lease, told=True)
                return
            except StoreUnavailable:
                if self._closing or time.monotonic() >= until:
                    return
                await asyncio.sleep(_PAUSE_S)

    async def _leave(self, seat: Seat) -> None:
        await self._link.ask(scripts.LEAVE, [seat.lease.readers], seat.reader)

    async def _listen(self) -> None:
        """Hear at once who follows. Whatever goes wrong here is made good by the next beat."""
        try:
            address = RedisAddress.of(split_url(self._url)[0])
        except (ValueError, TypeError, *FAILURES):
            # Options that only the cluster's client knows.
            return
        while True:
            connection = RedisConnection(address, BEAT_S, lambda token: self._on_followed(token.decode()))
            try:
                await connection.ask(("SUBSCRIBE", scripts.CHANNELS + self._gateway))
                while True:
                    await asyncio.sleep(LEASE_S)
                    await connection.ask(("PING",))
            except ResponseError:
                # A user who may not subscribe; asking again changes nothing.
                return
            except FAILURES:
                await asyncio.sleep(BEAT_S)
            finally:
                await connection.close()
