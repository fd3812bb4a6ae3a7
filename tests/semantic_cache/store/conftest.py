"""Both stores behind one fixture, and a real Redis server for the second."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
import redis

from semantic_cache.store.base import Budget, Store, StoreEvent
from semantic_cache.store.open import open_store
from tests.semantic_cache.support.samples import Clock
from tests.support.redis_server import RedisServer, running_redis

OpenStore: TypeAlias = Callable[..., Store]


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for tests that leave it running."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """An empty server."""
    with redis.Redis(port=shared_redis.port) as client:
        client.flushall()
    return shared_redis.url


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A cluster of one node: it checks slots as any other does."""
    with running_redis(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes") as server:
        with redis.Redis(port=server.port) as raw:
            raw.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while b"cluster_state:ok" not in raw.execute_command("CLUSTER", "INFO"):
                pass
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/cache.db"
    url = request.getfixturevalue("redis_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> dict[StoreEvent, int]:
    """What stores told about themselves, added up."""
    return dict.fromkeys(StoreEvent, 0)


@pytest.fixture
async def open_one(store_url: str, clock: Clock, events: dict[StoreEvent, int]) -> AsyncIterator[OpenStore]:
    """Opens a store, each time as another process would; closes them all."""
    opened: list[Store] = []

    def note(event: StoreEvent, count: int) -> None:
        events[event] += count

    def open_it(budget: Budget | None = None) -> Store:
        opened.append(open_store(store_url, budget, on_event=note, clock=clock))
        return opened[-1]

    yield open_it
    for store in opened:
        await store.close()


@pytest.fixture
def store(open_one: OpenStore) -> Store:
    return open_one()
