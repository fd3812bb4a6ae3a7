"""A Redis server and a clock for everything that keeps state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.redis_server import RedisServer, running_redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server for all tests that only talk to it."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


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
