"""What was left out is kept under its tenant: in either store, for its time, and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from gateway.compression.kept import Kept, id_of
from gateway.compression.spans import restored
from semantic_cache.entry import LEFT_OUT
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Budget, Store
from semantic_cache.store.open import open_store
from semantic_cache.transfer import export_lines
from tests.semantic_cache.support.samples import Clock
from tests.support.redis_server import RedisServer, running_redis

ORIGINAL = "\n".join(f"line {number} of the log" for number in range(1, 101))
SENT = "line 1 of the log\n[lines 2-99 left out]\nline 100 of the log"
TTL_S = 1000.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    url = f"sqlite://{tmp_path}/cache.db"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("server")
        url = server.url
        with redis.Redis(port=server.port) as client:
            client.flushall()
    made = open_store(url, Budget(1000, 100_000), clock=clock)
    yield made
    await made.close()


@pytest.fixture
def kept(store: Store, clock: Clock) -> Kept:
    return Kept(store, TTL_S, clock)


async def keep(kept: Kept, tenant: str = "t", original: str = ORIGINAL, sent: str = SENT) -> str:
    text = await kept.keep(tenant, "m", original, sent, "tool")
    assert text is not None
    return text


async def test_the_original_is_had_back_from_what_was_sent_and_what_was_kept(kept: Kept) -> None:
    text = await keep(kept)
    id = id_of("t", ORIGINAL, SENT)
    assert f"[lines 2-99 left out; tool id={id} start=2 end=99]" in text
    spans = await kept.find("t", id)
    assert spans is not None and restored(text, spans).encode() == ORIGINAL.encode()


async def test_nobody_else_has_it(kept: Kept) -> None:
    await keep(kept)
    assert await kept.find("other", id_of("t", ORIGINAL, SENT)) is None
    assert await kept.find("other", id_of("other", ORIGINAL, SENT)) is None
    assert id_of("t", ORIGINAL, SENT) != id_of("other", ORIGINAL, SENT)
    with pytest.raises(ValueError, match="tenant"):
        await kept.find("", id_of("t", ORIGINAL, SENT))


async def test_an_answers_key_is_never_that_of_what_was_left_out(store: Store, kept: Kept) -> None:
    await keep(kept)
    id = id_of("t", ORIGINAL, SENT)
    entry = await store.get(ExactKey.of_left_out("t", id))
    assert entry is not None and entry.endpoint == LEFT_OUT
    # An answer that lay there would not be taken for it either.
    await store.put(ExactKey.of_left_out("t", "x"), type(entry)(**{**_fields(entry), "endpoint": "chat"}))
    assert await kept.find("t", "x") is None


def _fields(entry: object) -> dict[str, object]:
    return {name: getattr(entry, name) for name in type(entry).__struct_fields__}  # type: ignore[attr-defined]


async def test_it_is_gone_at_its_time_and_stays_while_it_is_repeated(kept: Kept, clock: Clock) -> None:
    text = await keep(kept)
    id = id_of("t", ORIGINAL, SENT)
    clock.now += 0.9 * TTL_S
    assert await keep(kept) == text
    clock.now += 0.9 * TTL_S
    assert await kept.find("t", id) is not None
    clock.now += 0.2 * TTL_S
    assert await kept.find("t", id) is None


async def test_a_purge_takes_it_and_the_next_turn_keeps_it_again(store: Store, kept: Kept) -> None:
    text = await keep(kept)
    id = id_of("t", ORIGINAL, SENT)
    await store.purge("t", lambda epochs: epochs.purged())
    assert await kept.find("t", id) is None
    assert await keep(kept) == text and await kept.find("t", id) is not None


async def test_a_flood_of_one_tenant_does_not_evict_anothers(kept: Kept) -> None:
    await keep(kept, "small")
    for number in range(40):
        await keep(kept, "large", original=f"{number}\n{ORIGINAL}", sent="[lines 1-101 left out]")
    assert await kept.find("small", id_of("small", ORIGINAL, SENT)) is not None


async def test_what_is_too_large_is_not_promised(kept: Kept) -> None:
    long = "\n".join(f"line {number}" for number in range(5000))
    assert await kept.keep("t", "m", long, "[lines 1-5000 left out]", "tool") is None


async def test_an_export_of_answers_is_without_it(store: Store, kept: Kept) -> None:
    await keep(kept)
    assert [line async for line in export_lines(store)] == []
