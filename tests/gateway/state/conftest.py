"""A Redis server and a clock for everything that keeps state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from tests.support.redis_server import RedisServer, running_redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server for all tests that only talk to it."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A cluster of one node: it checks slots as any other does."""
    with running_redis(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes") as server:
        with Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.01)
        yield server


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where empty state is, in each of the ways that there are."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/folder/state.db"
    server: RedisServer = request.getfixturevalue(
        f"redis_{'server' if request.param == 'redis' else 'cluster'}"
    )
    with Redis.from_url(server.url) as client:
        client.flushall()
    return server.url if request.param == "redis" else f"{server.url}?cluster=true"


@dataclass
class Clock:
    """Unix time that stands still."""

    now: float = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Outages:
    """Counts what a store says of itself."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)

    def worked(self) -> None:
        """Nothing to note."""


@pytest.fixture
def outages() -> Outages:
    return Outages()
