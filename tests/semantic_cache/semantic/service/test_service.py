"""What the process does for a call while its embedder is slow, and how much it keeps for its tenants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from semantic_cache.decision.base import Observation, Observations
from semantic_cache.decision.label import agree
from semantic_cache.embed.base import Encoding
from semantic_cache.record import NOTHING_LEARNT, Learnt, Stored
from semantic_cache.record import encode as packed
from semantic_cache.semantic.protocol import Failed, Looked
from semantic_cache.semantic.service.encodings import Encodings
from semantic_cache.semantic.service.follower import Follower
from semantic_cache.semantic.service.service import Service
from semantic_cache.semantic.service.shelf import Shelf
from semantic_cache.semantic.service.teacher import Teacher
from semantic_cache.semantic.service.tickets import Tickets
from semantic_cache.store.open import open_store
from tests.semantic_cache.support.samples import key
from tests.semantic_cache.support.semantic_parts import DIM, ID, RuleDecider, encode
from tests.semantic_cache.support.semantic_process import look, record, scope_of

LEARNT = Learnt(packed(Observations("rule", (Observation(0.9, True),))), times=(1.0,))


async def at_once(texts: Sequence[str]) -> list[Encoding]:
    return encode(texts)


@asynccontextmanager
async def serving(
    folder: Path, shelf: Shelf, encode: Callable[[Sequence[str]], Awaitable[list[Encoding]]]
) -> AsyncIterator[Service]:
    store, decider = open_store(f"sqlite://{folder}/cache.db"), RuleDecider()
    follower = Follower(store.feed(), shelf, encode, lambda: None)
    teacher = Teacher(store, shelf, decider, follower.hurry)
    service = Service(ID, DIM, encode, shelf, decider, teacher, follower, encode_later=encode, candidates=4)
    try:
        yield service
    finally:
        await service.close()
        await follower.close()
        shelf.close()
        await store.close()


def shelf_of(texts: Sequence[tuple[str, str]]) -> Shelf:
    shelf = Shelf(ID, DIM)
    for tenant, text in texts:
        (one,) = encode([text])
        kept = record(text, tenant, embedder=ID, vector=one.vector.astype("<f2").tobytes())
        shelf.put(Stored(key(text, tenant), kept, LEARNT))
    return shelf


@pytest.mark.parametrize("stuck", ["red boat", "boat red"])
async def test_a_look_that_is_not_encoded_in_time_is_given_up(tmp_path: Path, stuck: str) -> None:
    given_up = asyncio.Event()

    async def slow(texts: Sequence[str]) -> list[Encoding]:
        if stuck in texts:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
        return encode(texts)

    async with serving(tmp_path, shelf_of([("acme", "boat red")]), slow) as service:
        async with asyncio.timeout(20):
            assert await service.answer(look("red boat", patience_s=0.01)) == Failed("late")
            await given_up.wait()


async def test_labels_are_kept_together_for_some_groups_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semantic_cache.semantic.service.looks.POOLS", 3)
    tenants = [f"tenant {n}" for n in range(10)]
    shelf = shelf_of([(tenant, "boat red") for tenant in tenants])
    async with serving(tmp_path, shelf, at_once) as service:
        for tenant in (*tenants, "unlabelled"):
            looked = await service.answer(look("red boat", tenant))
            assert isinstance(looked, Looked)
        assert len(service._looks._pools) == 3
        for tenant in tenants:
            assert shelf.labels_version((tenant, "large"))
            shelf.drop(key("boat red", tenant))
            assert not shelf.labels_version((tenant, "large"))


class Noted:
    """An embedder that keeps note of its texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def encode(self, texts: Sequence[str]) -> list[Encoding]:
        self.texts += texts
        return encode(texts)


async def test_what_a_gate_refuses_is_not_encoded(tmp_path: Path) -> None:
    noted, shelf = Noted(), shelf_of([("acme", "boat not red")])
    async with serving(tmp_path, shelf, noted.encode) as service:
        looked = await service.answer(look("red boat"))
        assert isinstance(looked, Looked)
        assert [gate.passed for seen in looked.considered for gate in seen.gates] == [False]
        assert noted.texts == ["red boat"]


async def test_the_steps_of_a_look_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path, shelf_of([("acme", "boat red")]), at_once) as service:
        decided = await service.answer(look("red boat"))
        alone = await service.answer(look("a bread knife"))
        assert isinstance(decided, Looked) and decided.steps is not None
        assert min(decided.steps.embed, decided.steps.search, decided.steps.gates, decided.steps.decide) > 0
        assert isinstance(alone, Looked) and alone.steps is not None
        assert alone.steps.search > 0 and (alone.steps.gates, alone.steps.decide) == (0, 0)


async def test_a_question_that_missed_is_not_encoded_again_once_it_is_stored(tmp_path: Path) -> None:
    noted, shelf = Noted(), shelf_of([])
    async with serving(tmp_path, shelf, noted.encode) as service:
        asked = await service.answer(look("boat red"))
        assert isinstance(asked, Looked) and asked.serve is None
        kept = record("boat red", embedder=ID, vector=asked.vector)
        shelf.put(Stored(key("boat red"), kept, NOTHING_LEARNT))
        served = await service.answer(look("red boat"))
        assert isinstance(served, Looked) and served.serve == key("boat red").digest
        assert noted.texts == ["boat red", "red boat"]


@pytest.mark.parametrize(
    ("fresh", "stored", "same", "encoded"),
    [
        ("It is red.", "it is red", True, 0),
        ("It costs 3.", "It costs 4.", False, 0),
        ("A red boat sails far away", "far away sails a red boat", True, 2),
    ],
)
async def test_answers_are_encoded_only_where_their_texts_do_not_tell(
    tmp_path: Path, fresh: str, stored: str, same: bool, encoded: int
) -> None:
    noted = Noted()
    async with serving(tmp_path, shelf_of([]), noted.encode) as service:
        assert await service._compare(fresh, stored, agree) is same
        assert len(noted.texts) == encoded


async def test_a_flood_of_questions_scopes_and_models_is_bounded_and_costs_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelf_of([("acme", "boat red"), ("flood", "boat red")])
    async with serving(tmp_path, shelf, at_once) as service:
        service._tickets = service._looks._tickets = Tickets(64)
        service._looks._encodings = Encodings(20_000)
        first = await service.answer(look("red boat"))
        assert isinstance(first, Looked) and first.serve is not None and first.ticket
        for number in range(400):
            # Hits, each of which hands out a ticket; and misses in scopes that nobody has heard of.
            hit = look("red boat", "flood", model=f"m{number}", key=key(f"k{number}").digest)
            assert isinstance(await service.answer(hit), Looked)
            scope = scope_of("flood", f"n{number}")
            miss = await service.answer(look(f"red boat {number}", "flood", scope=scope))
            assert isinstance(miss, Looked) and miss.serve is None
        assert len(service._tickets) == 64 and len(service._looks._pools) <= 2
        assert service._looks._encodings.nbytes <= 20_000
        assert (len(shelf), shelf.scopes) == (2, 2)
        # What the other one may still want to say is known.
        assert service._tickets.look(first.ticket) is not None


async def test_of_a_groups_other_tenants_nobody_takes_all_the_places(tmp_path: Path) -> None:
    shared = scope_of("@team")
    shelf = Shelf(ID, DIM)
    (one,) = encode(["boat red"])
    for tenant, count in (("flood", 30), ("honest", 1)):
        for number in range(count):
            vector = one.vector.astype("<f2").tobytes()
            kept = record("boat red", tenant, embedder=ID, vector=vector, scope=shared)
            shelf.put(Stored(key(f"{tenant} {number}", tenant), kept, Learnt()))
    async with serving(tmp_path, shelf, at_once) as service:
        chosen = []
        for number in range(40):
            ask = look(
                "red boat",
                "me",
                scope=shared,
                group="@team",
                peers=("flood", "honest", "absent"),
                key=key(f"q{number}").digest,
            )
            looked = await service.answer(ask)
            assert isinstance(looked, Looked) and looked.serve is None and looked.ticket == 0
            assert looked.reason == "quarantined"
            chosen.append(looked.holder)
        assert 8 <= chosen.count("honest") <= 32 and set(chosen) == {"flood", "honest"}
        # Without peers (the request is not shared) nothing of it is named.
        alone = await service.answer(look("red boat", "me", scope=shared))
        assert isinstance(alone, Looked) and (alone.explored, alone.reason) == (None, "no_candidates")


async def test_only_so_many_answers_wait_to_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semantic_cache.semantic.service.service.COMPARISONS", 2)
    may_encode, waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(texts: Sequence[str]) -> list[Encoding]:
        waiting.release()
        await may_encode.wait()
        return encode(texts)

    asked = "A red boat sails far away", "far away sails a red boat"
    async with serving(tmp_path, shelf_of([]), slow) as service:
        some = [asyncio.create_task(service._compare(*asked, agree)) for _ in range(2)]
        for _ in some:
            await waiting.acquire()
        assert await service._compare(*asked, agree) is None
        may_encode.set()
        assert await asyncio.gather(*some) == [True, True]
        assert await service._compare(*asked, agree) is True
