"""Who is who, and what happens while the store cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.schema import Config, Limits, Server, Tenant
from gateway.errors import StateUnavailable, Unauthenticated
from gateway.state.keys.base import Snapshot
from gateway.state.keys.key import HASH_PREFIX, KeyRecord, digest_of, new_key
from gateway.state.keys.keyring import TRUST_S, Identity, Keyring


class Store:
    """Keys in memory, which may be out of reach."""

    def __init__(self) -> None:
        self.records: list[KeyRecord] = []
        self.limits: dict[str, Limits] = {}
        self.down = False

    def add(self, record: KeyRecord, limits: Limits | None) -> None:
        self.records.append(record)

    def revoke(self, key_id: str, now: int) -> bool:
        self.records = [
            KeyRecord(key.id, key.tenant, key.key_hash, key.created, now if key.id == key_id else None)
            for key in self.records
        ]
        return True

    def snapshot(self) -> Snapshot:
        if self.down:
            raise StateUnavailable("down")
        return Snapshot(tuple(self.records), dict(self.limits))


@pytest.fixture
def store() -> Store:
    return Store()


def keyring(store: Store, outages: Any, clock: Any, *tenants: Tenant, host: str = "127.0.0.1") -> Keyring:
    return Keyring(Config(tenants=tenants, server=Server(host=host)), store, outages, clock)


def stored(store: Store, tenant: str) -> str:
    key, record = new_key(tenant)
    store.add(record, None)
    return f"Bearer {key}"


def configured(name: str, key: str | None = None, **limits: Any) -> Tenant:
    key_hash = None if key is None else HASH_PREFIX + digest_of(key).hex()
    return Tenant(name, key_hash, Limits(**limits))


async def test_an_open_gateway_takes_any_key(store: Store, outages: Any, clock: Any) -> None:
    ring = keyring(store, outages, clock)
    await ring.refresh()
    assert ring.identify(None) == ring.identify("Bearer not-needed") == Identity("default")


@pytest.mark.parametrize(
    ("tenants", "host"),
    [
        ((configured("a", "fb-x"),), "127.0.0.1"),
        ((configured("default", "fb-x"),), "127.0.0.1"),
        # Somebody has meant to have tenants, and only forgot their keys.
        ((configured("a"),), "127.0.0.1"),
        ((), "0.0.0.0"),
    ],
)
async def test_a_gateway_is_locked_if_anything_asks_for_it(
    store: Store, outages: Any, clock: Any, tenants: tuple[Tenant, ...], host: str
) -> None:
    ring = keyring(store, outages, clock, *tenants, host=host)
    await ring.refresh()
    with pytest.raises(Unauthenticated):
        ring.identify(None)


async def test_keys_of_both_places_lead_to_their_tenants(store: Store, outages: Any, clock: Any) -> None:
    store.limits = {"a": Limits(rpm=9), "b": Limits(rpm=1)}
    key = stored(store, "b")
    ring = keyring(store, outages, clock, configured("a", "fb-x", rpm=5))
    await ring.refresh()
    # What the configuration says of a tenant goes before what the store says.
    assert ring.identify("Bearer fb-x") == Identity("a", Limits(rpm=5))
    assert ring.identify(key) == Identity("b", Limits(rpm=1))


async def test_a_tenant_may_have_several_keys_and_lose_one(store: Store, outages: Any, clock: Any) -> None:
    old, new = stored(store, "a"), stored(store, "a")
    ring = keyring(store, outages, clock)
    await ring.refresh()
    assert ring.identify(old) == ring.identify(new)
    store.revoke(store.records[0].id, 1)
    await ring.refresh()
    assert ring.identify(new).tenant == "a"
    with pytest.raises(Unauthenticated):
        ring.identify(old)


async def test_losing_the_last_key_leaves_the_gateway_locked(store: Store, outages: Any, clock: Any) -> None:
    stored(store, "a")
    ring = keyring(store, outages, clock)
    await ring.refresh()
    store.records.clear()
    await ring.refresh()
    with pytest.raises(Unauthenticated):
        ring.identify(None)


async def test_a_store_that_was_never_read_lets_nobody_in(store: Store, outages: Any, clock: Any) -> None:
    store.down = True
    ring = keyring(store, outages, clock)
    await ring.refresh()
    with pytest.raises(StateUnavailable):
        ring.identify(None)


async def test_the_last_word_of_a_store_counts_for_a_while(store: Store, outages: Any, clock: Any) -> None:
    key = stored(store, "b")
    ring = keyring(store, outages, clock, configured("a", "fb-x"))
    await ring.refresh()
    store.down = True
    clock.now += TRUST_S
    await ring.refresh()
    assert ring.identify(key).tenant == "b"
    clock.now += 1
    for authorization in (key, "Bearer fb-unknown"):
        with pytest.raises(StateUnavailable):
            ring.identify(authorization)
    # The configuration has not gone anywhere.
    assert ring.identify("Bearer fb-x").tenant == "a"
    store.down = False
    await ring.refresh()
    assert ring.identify(key).tenant == "b"


async def test_it_follows_the_store_while_it_runs(
    store: Store, outages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio
    import time

    monkeypatch.setattr("gateway.state.keys.keyring.POLL_S", 0.001)
    ring = keyring(store, outages, time.monotonic)
    await ring.start()
    key = stored(store, "a")
    async with asyncio.timeout(10):
        while not ring.locked:
            await asyncio.sleep(0.001)
    assert ring.identify(key).tenant == "a"
    await ring.close()
