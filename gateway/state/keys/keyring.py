"""Tells from a request's key which tenant it belongs to: keys of the configuration and of the store.

A gateway is open (everybody is the tenant `default`) while nobody has asked for anything else: no key
exists, the configuration names no other tenant, and it listens on this machine only. Once a key has been seen
it stays locked, also when the last key is revoked or the store is lost: that must never let everybody in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.config.schema import LOOPBACK, OPEN_TENANT, Config, Limits
from gateway.errors import StateUnavailable, Unauthenticated
from gateway.state.keys.base import KeyStore, Snapshot
from gateway.state.keys.key import digest_in, digest_of
from gateway.state.outage import Outage

POLL_S = 0.5
"""How often the store is asked. A created or revoked key counts within twice this time."""
TRUST_S = 10.0
"""How long the store may be out of reach until its last word no longer counts."""
# Enough to find an entry by. Which prefixes exist tells nothing about any key, so this look-up need not take
# constant time; the comparison of the whole digest does.
_PREFIX = 16
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose request it is, and the limits that it is under."""

    tenant: str
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: bytes
    identity: Identity
    stored: bool


class Keyring:
    """The keys that are valid now; follows the store while it runs."""

    def __init__(
        self, config: Config, store: KeyStore, outage: Outage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tenants = config.tenants
        self._store = store
        self._outage = outage
        self._clock = clock
        self._locked = _must_lock(config)
        self._trusted_until = -1.0
        self._snapshot: Snapshot | None = None
        self._following: asyncio.Task[None] | None = None
        self._entries: dict[bytes, _Entry] = {}
        self._open = Identity(OPEN_TENANT)
        self._take(Snapshot())

    @property
    def locked(self) -> bool:
        """Whether requests need a key."""
        return self._locked

    async def start(self) -> None:
        """Read the store once, and follow it from then on."""
        await self.refresh()
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
            self._following = None

    async def refresh(self) -> None:
        """Take over what the store holds now; if it cannot be read, what it held counts for `TRUST_S`."""
        asked = self._clock()
        try:
            snapshot = await asyncio.to_thread(self._store.snapshot)
        except StateUnavailable as error:
            self._outage.failed(error)
            return
        self._outage.worked()
        self._trusted_until = asked + TRUST_S
        if snapshot != self._snapshot:
            self._take(snapshot)
            self._snapshot = snapshot

    def identify(self, authorization: str | None) -> Identity:
        """Return whose request it is. Raises Unauthenticated, StateUnavailable."""
        if not self._locked:
            self._check_trust()
            return self._open
        if authorization is None or not authorization[: len(_BEARER)].lower() == _BEARER:
            raise Unauthenticated
        digest = digest_of(authorization[len(_BEARER) :].strip())
        entry = self._entries.get(digest[:_PREFIX])
        if entry is None or not hmac.compare_digest(entry.digest, digest):
            self._check_trust()
            raise Unauthenticated
        if entry.stored:
            self._check_trust()
        return entry.identity

    def _check_trust(self) -> None:
        if self._clock() > self._trusted_until:
            raise StateUnavailable("The gateway cannot check keys at the moment. Try again shortly.")

    def _take(self, snapshot: Snapshot) -> None:
        limits = {**snapshot.limits, **{tenant.name: tenant.limits for tenant in self._tenants}}
        self._locked = self._locked or bool(snapshot.keys)
        self._open = _identity(OPEN_TENANT, limits)
        entries = [
            _Entry(digest_in(key.key_hash), _identity(key.tenant, limits), True)
            for key in snapshot.keys
            if key.revoked is None
        ]
        entries += [
            _Entry(digest_in(tenant.key_hash), _identity(tenant.name, limits), False)
            for tenant in self._tenants
            if tenant.key_hash is not None
        ]
        self._entries = {entry.digest[:_PREFIX]: entry for entry in entries}

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self.refresh()


def asks_for_keys(config: Config, store: KeyStore) -> bool:
    """Return whether a gateway that starts now will ask for keys; if that cannot be seen, it will."""
    try:
        return _must_lock(config) or bool(store.snapshot().keys)
    except StateUnavailable:
        return True


def _must_lock(config: Config) -> bool:
    server = config.server
    beyond = server.host not in LOOPBACK and not server.allow_unauthenticated
    return beyond or any(
        tenant.key_hash is not None or tenant.name != OPEN_TENANT for tenant in config.tenants
    )


def _identity(tenant: str, limits: dict[str, Limits]) -> Identity:
    given = limits.get(tenant)
    return Identity(tenant, given if given != Limits() else None)
