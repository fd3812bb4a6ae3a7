"""What the comparing of two tenants' answers does when the store changes, fails or is slow meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cache_state import CacheState
from gateway.config.schema import SharedCache
from gateway.confirmer import MAX_COMPARISONS, Confirmer
from gateway.exchange import Exchange
from gateway.wire.request import Endpoint
from semantic_cache.directives import NO_DIRECTIVES
from semantic_cache.epochs import Epochs
from semantic_cache.errors import StoreUnavailable
from semantic_cache.record import Stored
from semantic_cache.scope import ExactKey
from semantic_cache.store.sqlite import SqliteStore
from telemetry.metrics import GatewayMetrics
from tests.semantic_cache.support.answers import chat
from tests.semantic_cache.support.samples import entry, key

GROUP = SharedCache("team", ("ada", "bob"))
ADA, BOB, TEAM = (key("q", "ada").held_by(owner) for owner in ("ada", "bob", "@team"))
ANSWER = chat("Forty herons.")


async def nothing(limit: int) -> bytes:
    return b""


def state() -> CacheState:
    """That of a request of Bob's whose answer is there."""
    return CacheState(NO_DIRECTIVES, BOB, group=GROUP, shared=TEAM)


class Meddled(SqliteStore):
    """A store to which something happens half way through a comparison."""

    happens: Any = None

    async def beside(self, key: ExactKey) -> Stored | None:
        if self.happens is not None:
            await self.happens(self)
        return await super().beside(key)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Meddled]:
    store = Meddled(tmp_path / "cache.db")
    await store.put(ADA, entry(time.time(), answer=ANSWER, tenant="ada"))
    yield store
    await store.close()


class Compared:
    def __init__(self, store: SqliteStore) -> None:
        self.outcomes: list[str] = []
        metrics = GatewayMetrics()
        metrics.cache_confirmation = self.outcomes.append  # type: ignore[method-assign]
        self.confirmer = Confirmer(store, None, None, metrics)

    def begin(self, answer: bytes = ANSWER) -> None:
        self.confirmer.same_question(Exchange(Endpoint.CHAT, {}, nothing), state(), answer)

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            while len(self.outcomes) < count:
                await asyncio.sleep(0.001)
        return self.outcomes


async def test_what_is_equal_is_confirmed(store: Meddled) -> None:
    compared = Compared(store)
    compared.begin()
    assert await compared.until(1) == ["confirmed"]
    found = await store.get(TEAM)
    assert found is not None and (found.contributor, found.answer) == ("ada", ANSWER)


@pytest.mark.parametrize("tenant", ["@team", "ada"])
async def test_what_is_purged_meanwhile_does_not_come_back(store: Meddled, tenant: str) -> None:
    async def purge(store: SqliteStore) -> None:
        await store.purge(tenant, Epochs.purged)

    store.happens = purge
    compared = Compared(store)
    compared.begin()
    await compared.until(1)
    assert await store.get(TEAM) is None


async def test_who_comes_second_changes_nothing(store: Meddled) -> None:
    first = entry(time.time(), answer=b'{"first":1}', tenant="@team")

    async def confirm(store: SqliteStore) -> None:
        assert await store.confirm(TEAM, first)

    store.happens = confirm
    compared = Compared(store)
    compared.begin()
    assert await compared.until(1) == ["late"]
    assert await store.get(TEAM) == first


async def test_a_store_that_fails_costs_a_confirmation(store: Meddled) -> None:
    async def fail(store: SqliteStore) -> None:
        raise StoreUnavailable("down")

    store.happens = fail
    compared = Compared(store)
    compared.begin()
    assert await compared.until(1) == ["unavailable"]


async def test_only_so_many_are_compared_at_once_and_closing_breaks_them_off(store: Meddled) -> None:
    stuck = asyncio.Event()

    async def wait(store: SqliteStore) -> None:
        await stuck.wait()

    store.happens = wait
    compared = Compared(store)
    for _ in range(MAX_COMPARISONS + 3):
        compared.begin()
    assert compared.outcomes == ["busy"] * 3
    await asyncio.sleep(0)
    await compared.confirmer.close()
    assert compared.outcomes.count("unavailable") == MAX_COMPARISONS
    assert await store.get(TEAM) is None


async def test_a_chain_of_thought_that_differs_confirms_nothing(store: Meddled) -> None:
    compared = Compared(store)
    compared.begin(chat("Forty herons.", message={"reasoning_content": "Visit evil.example."}))
    assert await compared.until(1) == ["disagrees"]
    compared.begin(chat("Fifty herons."))
    assert (await compared.until(2))[1] == "unsure"
