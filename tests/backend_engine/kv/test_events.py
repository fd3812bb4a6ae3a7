"""Readers of KV events always know what the pool holds, or know that they do not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from backend_engine.kv.block_pool import BlockPool
from backend_engine.kv.events import KvEvent, KvEventLog, KvEventReader


def replay(events: Sequence[KvEvent], held: set[bytes]) -> set[bytes]:
    for event in events:
        if event.kind == "snapshot":
            held = set(event.names)
        elif event.kind == "stored":
            assert not held & set(event.names)
            held |= set(event.names)
        elif event.kind == "removed":
            assert held >= set(event.names)
            held -= set(event.names)
    return held


def churn(pool: BlockPool, chance: random.Random, rounds: int) -> None:
    for _ in range(rounds):
        blocks = pool.allocate(chance.randrange(1, 4))
        for block in blocks:
            pool.publish(block, chance.randbytes(4))
        pool.release(blocks)


async def test_a_reader_can_follow_from_any_moment() -> None:
    log, chance = KvEventLog(), random.Random(2)
    pool = BlockPool(8, 4, [log])
    held: list[set[bytes]] = []
    readers: list[KvEventReader] = []
    for _ in range(5):
        churn(pool, chance, 10)
        readers.append(KvEventReader())
        held.append(set())
        log.add_reader(readers[-1].push, [name for _, name in pool.published()])
        churn(pool, chance, 3)
        log.flush()
        for at, reader in enumerate(readers):
            held[at] = replay(await reader.take(), held[at])
            assert held[at] == {name for _, name in pool.published()}


async def test_a_reader_that_falls_behind_is_told_once_and_starts_again() -> None:
    log, chance = KvEventLog(), random.Random(3)
    pool = BlockPool(8, 4, [log])
    reader = KvEventReader(capacity=10)
    log.add_reader(reader.push, [])
    churn(pool, chance, 30)
    log.flush()
    (lag,) = await reader.take()
    assert (lag.kind, lag.missed > 10) == ("lag", True)
    churn(pool, chance, 5)
    log.flush()
    log.add_reader(reader.push, [name for _, name in pool.published()])
    churn(pool, chance, 1)
    log.flush()
    assert replay(await reader.take(), set()) == {name for _, name in pool.published()}


async def test_nothing_is_kept_for_nobody_and_nothing_sent_to_who_left() -> None:
    log = KvEventLog()
    pool = BlockPool(8, 4, [log])
    churn(pool, random.Random(1), 5)
    assert not log._changes
    seen: list[KvEvent] = []
    log.add_reader(seen.extend, [])
    log.remove_reader(seen.extend)
    churn(pool, random.Random(1), 5)
    log.flush()
    assert [event.kind for event in seen] == ["snapshot"]


async def test_a_waiting_reader_can_be_woken() -> None:
    reader = KvEventReader()
    waiting = asyncio.create_task(reader.take())
    await asyncio.sleep(0)
    reader.wake()
    assert await waiting == []
