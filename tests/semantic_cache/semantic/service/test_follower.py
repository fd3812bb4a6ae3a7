"""What keeps the shelf as the store is, over a feed and an embedder that fail in part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from semantic_cache.embed.base import Encoding
from semantic_cache.embed.errors import EmbeddingFailed
from semantic_cache.record import NOTHING_LEARNT, Stored
from semantic_cache.semantic.service.follower import AT_ONCE, Follower
from semantic_cache.semantic.service.shelf import Shelf
from semantic_cache.store.feed import Batch
from tests.semantic_cache.support.samples import key
from tests.semantic_cache.support.semantic_parts import DIM, ID, encode
from tests.semantic_cache.support.semantic_process import PATIENT_S, record


class ScriptedFeed:
    """Tells of a few batches, then of nothing; or fails."""

    def __init__(self, *told: Batch | Exception) -> None:
        self._told = list(told)

    async def next(self) -> Batch:
        if not self._told:
            await asyncio.Event().wait()
        told = self._told.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    def hurry(self) -> None:
        """There is nothing to hurry."""

    async def close(self) -> None:
        """There is nothing to close."""


async def picky(texts: Sequence[str]) -> list[Encoding]:
    if any("rejected" in text for text in texts):
        raise EmbeddingFailed("The embeddings' server answered 400.")
    if any("broken" in text for text in texts):
        raise ValueError("a secret of the text")
    return encode(texts)


@asynccontextmanager
async def following(feed: ScriptedFeed, shelf: Shelf, broken: Callable[[], None]) -> AsyncIterator[Follower]:
    follower = Follower(feed, shelf, picky, broken)
    follower.start()
    try:
        yield follower
    finally:
        await follower.close()
        shelf.close()


def stored(text: str) -> Stored:
    return Stored(key(text), record(text), NOTHING_LEARNT)


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not what():
            await asyncio.sleep(0.005)


async def test_texts_that_the_embedder_rejects_do_not_stand_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As many as are tried in one go, so that all others wait behind them.
    monkeypatch.setattr("semantic_cache.semantic.service.follower._LONGEST_PAUSE_S", 0.01)
    shelf, broken = Shelf(ID, DIM), asyncio.Event()
    texts = [f"rejected {n}" for n in range(AT_ONCE - 1)] + ["broken"]
    good = [f"question {n}" for n in range(3 * AT_ONCE)]
    feed = ScriptedFeed(Batch(True, [stored(text) for text in (*texts, *good)]))
    with capture_logs() as logs:
        async with following(feed, shelf, broken.set):
            await until(lambda: shelf.waiting == len(texts) and bool(logs))
    assert {text for _, text in shelf.unindexed(100)} == set(texts)
    assert not broken.is_set()
    assert {line["event"] for line in logs} == {"records_not_embedded"}
    assert "secret" not in str(logs)


async def test_what_nobody_foresaw_is_logged_and_told() -> None:
    broken = asyncio.Event()
    with capture_logs() as logs:
        async with following(ScriptedFeed(Batch(True), ValueError("odd")), Shelf(ID, DIM), broken.set):
            async with asyncio.timeout(PATIENT_S):
                await broken.wait()
    assert [line["event"] for line in logs] == ["follower_broken"]
