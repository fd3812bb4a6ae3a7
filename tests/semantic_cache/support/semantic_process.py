"""A semantic process for tests, and a store that it follows."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from semantic_cache.record import Record
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.launcher import SemanticOptions, SemanticProcess, launch
from semantic_cache.semantic.protocol import Look, Looked, Numbers, Stats
from semantic_cache.store.base import Store
from semantic_cache.store.open import open_store
from tests.semantic_cache.support.samples import entry, key

MODULE = "tests.semantic_cache.support.semantic_parts"
PATIENT_S = 20.0


def scope_of(tenant: str, name: str = "s") -> bytes:
    return sha256(f"{tenant}\0{name}".encode()).digest()


def record(text: str, tenant: str = "acme", **more: Any) -> Record:
    fields = {"scope": scope_of(tenant), "model": "large", "stale_until": time.time() + 600, **more}
    return Record(text=text, **fields)


def look(text: str, tenant: str = "acme", **more: Any) -> Look:
    fields = {"tenant": tenant, "model": "large", "scope": scope_of(tenant), "error_budget": 0.01, **more}
    return Look(text=text, key=fields.pop("key", key(text, tenant).digest), **fields)


@dataclass
class Semantic:
    """A running process, a client of it and a store."""

    socket: Path
    url: str
    process: SemanticProcess
    client: SemanticClient
    store: Store
    outcomes: list[str] = field(default_factory=list)

    async def put(self, text: str, tenant: str = "acme", answer: bytes = b'{"a":1}', **more: Any) -> ExactKey:
        where = key(text, tenant)
        kept = record(text, tenant, **more)
        mine = entry(time.time(), answer=answer, tags=kept.tags, epoch=kept.epoch)
        assert await self.store.put(where, mine, kept)
        return where

    async def look(self, text: str, tenant: str = "acme", **more: Any) -> Looked:
        looked = await self.client.ask(look(text, tenant, **more), Looked, PATIENT_S)
        assert looked is not None, self.outcomes
        return looked

    async def until(self, entries: int) -> None:
        """Wait until the process holds so many records, all with vectors."""
        async with asyncio.timeout(PATIENT_S):
            while True:
                numbers = await self.client.ask(Stats(), Numbers, PATIENT_S)
                settled = numbers is not None and numbers.caught_up and numbers.waiting == 0
                if numbers is not None and settled and numbers.entries == entries:
                    return
                await asyncio.sleep(0.01)

    async def until_up(self, up: bool = True) -> None:
        async with asyncio.timeout(PATIENT_S):
            while self.client.up is not up:
                await asyncio.sleep(0.005)


def let_children_import() -> None:
    """A child that is started with `-P` finds the packages by path."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])


@asynccontextmanager
async def running_semantic(folder: Path, url: str | None = None, **options: Any) -> AsyncIterator[Semantic]:
    """Run a process of the tests' small parts while the block lasts."""
    let_children_import()
    url = url or f"sqlite://{folder}/cache.db"
    directory = folder / "private"
    directory.mkdir(mode=0o700, exist_ok=True)
    socket = directory / "s"
    outcomes: list[str] = []
    store = open_store(url)
    process = await launch(SemanticOptions(store=url, **options), socket, module=MODULE)
    client = SemanticClient(str(socket), outcomes.append)
    client.start()
    running = Semantic(socket, url, process, client, store, outcomes)
    try:
        await running.until_up()
        yield running
    finally:
        await client.close()
        await running.process.stop()
        await store.close()
