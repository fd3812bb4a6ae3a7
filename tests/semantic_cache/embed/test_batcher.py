"""Who shares a batch with whom, and what leaving, failing and closing do to the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from semantic_cache.embed.base import Encoding
from semantic_cache.embed.batcher import Batcher
from semantic_cache.embed.bert import BertEmbedder
from semantic_cache.embed.errors import EmbeddingFailed


class Watched:
    """A real embedder that can be held, and keeps note of its batches."""

    def __init__(self, embedder: BertEmbedder) -> None:
        self.id, self.dim = embedder.id, embedder.dim
        self._embedder = embedder
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.may_run = threading.Event()
        self.may_run.set()
        self.started = threading.Event()

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        self.batches.append(list(texts))
        self.threads.add(threading.get_ident())
        self.started.set()
        assert self.may_run.wait(30)
        if "poison" in texts:
            raise EmbeddingFailed("poison")
        return self._embedder.encode(texts)


@pytest.fixture
def watched(tiny: Path) -> Watched:
    return Watched(BertEmbedder("tiny", tiny))


@pytest.fixture
async def batcher(watched: Watched) -> AsyncIterator[Batcher]:
    batcher = Batcher(watched, batch_tokens=16)
    yield batcher
    watched.may_run.set()
    await batcher.close()


async def held(batcher: Batcher, watched: Watched, text: str) -> asyncio.Task[Encoding]:
    """Start a batch of one text that is held until `may_run`."""
    watched.may_run.clear()
    watched.started.clear()
    task = asyncio.create_task(batcher.encode(text))
    await asyncio.to_thread(watched.started.wait, 30)
    return task


async def asked(*texts: str, batcher: Batcher) -> list[asyncio.Task[Encoding]]:
    """Start to wait for `texts`."""
    tasks = [asyncio.create_task(batcher.encode(text)) for text in texts]
    await asyncio.sleep(0)
    return tasks


async def test_one_text_goes_alone_and_at_once(batcher: Batcher, watched: Watched, tiny: Path) -> None:
    encoding = await batcher.encode("reset my account")
    expected = BertEmbedder("tiny", tiny).encode(["reset my account"])[0]
    assert np.array_equal(encoding.vector, expected.vector)
    assert watched.batches == [["reset my account"]]


async def test_what_waits_is_taken_together_in_order_up_to_the_bound(
    batcher: Batcher, watched: Watched
) -> None:
    first = await held(batcher, watched, "a")
    # Two special tokens and a token for four characters: 3 + 5 + 8 = 16, and the next one is too much.
    tasks = await asked("four", "twelve chars", "x" * 24, "a", "b" * 400, "c", batcher=batcher)
    watched.may_run.set()
    await asyncio.gather(first, *tasks)
    assert watched.batches == [["a"], ["four", "twelve chars", "x" * 24], ["a"], ["b" * 400], ["c"]]
    assert len(watched.threads) == 1


async def test_what_nobody_waits_for_goes_last_and_by_itself(batcher: Batcher, watched: Watched) -> None:
    first = await held(batcher, watched, "a")
    later = [asyncio.create_task(batcher.encode_later(text)) for text in ("x", "left", "y")]
    await asyncio.sleep(0)
    tasks = await asked("b", "c", batcher=batcher)
    later[1].cancel()
    await asyncio.gather(later[1], return_exceptions=True)
    watched.may_run.set()
    await asyncio.gather(first, *tasks, later[0], later[2])
    assert watched.batches == [["a"], ["b", "c"], ["x"], ["y"]]


async def test_while_others_come_what_nobody_waits_for_holds_back(
    batcher: Batcher, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others have always just come, and a text that took any time at all is long ago only after an hour.
    monkeypatch.setattr("semantic_cache.embed.batcher._QUIET_S", 3600.0)
    await batcher.encode("a")
    await batcher.encode_later("x")
    monkeypatch.setattr(batcher, "_later_from", batcher._later_from + 3600.0)
    later = asyncio.create_task(batcher.encode_later("y"))
    await batcher.encode("b")
    assert watched.batches == [["a"], ["x"], ["b"]] and not later.done()
    monkeypatch.setattr(batcher, "_later_from", 0.0)
    await batcher.encode("c")
    await later
    assert watched.batches == [["a"], ["x"], ["b"], ["c"], ["y"]]


async def test_everyone_gets_the_encoding_of_the_own_text(batcher: Batcher, tiny: Path) -> None:
    texts = [f"reset account {letter}" for letter in "abcdefghijklmnop"]
    encodings = await asyncio.gather(*(batcher.encode(text) for text in texts))
    for encoding, expected in zip(encodings, BertEmbedder("tiny", tiny).encode(texts), strict=True):
        assert np.array_equal(encoding.vector, expected.vector)


async def test_who_left_is_not_computed_and_costs_nobody_anything(batcher: Batcher, watched: Watched) -> None:
    first = await held(batcher, watched, "a")
    left, stays = await asked("b", "c", batcher=batcher)
    first.cancel()
    left.cancel()
    await asyncio.gather(first, left, return_exceptions=True)
    watched.may_run.set()
    await stays
    assert watched.batches == [["a"], ["c"]]


async def test_a_text_that_fails_fails_alone(batcher: Batcher, watched: Watched) -> None:
    first = await held(batcher, watched, "a")
    before, poison, after = await asked("b", "poison", "c", batcher=batcher)
    watched.may_run.set()
    await asyncio.gather(first, before, after)
    with pytest.raises(EmbeddingFailed, match="poison"):
        await poison
    with pytest.raises(EmbeddingFailed, match="poison"):
        await batcher.encode("poison")
    assert len((await batcher.encode("d")).vector) == watched.dim


async def test_closing_refuses_what_waits_and_ends_what_runs(watched: Watched) -> None:
    batcher = Batcher(watched)
    runs = await held(batcher, watched, "a")
    (waits,) = await asked("b", batcher=batcher)
    later = asyncio.create_task(batcher.encode_later("c"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    for refused in (waits, later):
        with pytest.raises(EmbeddingFailed, match="closed"):
            await refused
    watched.may_run.set()
    await closing
    assert len((await runs).vector) == watched.dim
    with pytest.raises(EmbeddingFailed, match="closed"):
        await batcher.encode("c")
