"""What became of similar questions is known by their digests."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cache_state import Asked, CacheState
from gateway.exchange import Exchange
from gateway.routing import past
from gateway.routing.past import Past
from gateway.wire.request import Endpoint
from router.after.signs import AnswerSigns
from router.online.tried import Tried
from semantic_cache.scope import Scope
from semantic_cache.semantic.protocol import Found, Near, Search


def tried(number: int, agrees: bool, tenant: str = "ada", tier: str = "small") -> Tried:
    question = bytes([number]).hex()
    return Tried(str(number), tenant, tier, 1.0, {}, AnswerSigns({}, None, ()), agrees, question=question)


class Process:
    """A semantic process that finds what it is told to."""

    def __init__(self, *near: tuple[int, float]) -> None:
        self.found: Found | None = Found([Near(bytes([number]), similarity) for number, similarity in near])
        self.asked: list[Search] = []

    async def ask(self, call: Search, answer: type[Found], patience_s: float) -> Found | None:
        self.asked.append(call)
        assert patience_s < 0.1
        return self.found


async def receive(limit: int) -> bytes:
    return b""


@pytest.fixture
def ex() -> Exchange:
    found = Exchange(Endpoint.CHAT, {}, receive)
    found.tenant = "ada"
    found.cache = object.__new__(CacheState)
    found.cache.scope = Scope("ada", b"scope")
    found.cache.asked = Asked("why")
    found.cache.asked.vector = b"1234"
    return found


def remembering(process: Any, *rows: Tried) -> Past:
    found = Past("small", lambda: process)
    found.note(rows)
    return found


async def test_near_questions_count_more_than_all_others(ex: Exchange) -> None:
    process = Process((1, 0.95), (2, 0.4))
    near = await remembering(process, tried(1, True), tried(2, False), tried(3, False)).agreement_near(ex)
    assert near is not None and near > 0.9
    assert process.asked == [Search("ada", b"scope", "why", 16)]


async def test_without_neighbours_it_is_what_happens_to_all(ex: Exchange) -> None:
    near = await remembering(Process(), tried(1, True), tried(2, False)).agreement_near(ex)
    assert near == pytest.approx(0.5)


async def test_other_tenants_and_tiers_tell_nothing(ex: Exchange) -> None:
    rows = [tried(1, False), tried(2, True, tenant="bob"), tried(3, True, tier="middle")]
    near = await remembering(Process((2, 0.99), (3, 0.99)), *rows).agreement_near(ex)
    assert near == pytest.approx(0.5)


async def test_nobody_is_asked_where_nothing_is_known(ex: Exchange) -> None:
    process = Process((1, 0.9))
    assert await remembering(process).agreement_near(ex) is None
    assert ex.cache is not None and ex.cache.asked is not None
    ex.cache.asked.vector = b""
    assert await remembering(process, tried(1, True)).agreement_near(ex) is None
    assert await remembering(None, tried(1, True)).agreement_near(ex) is None
    assert process.asked == []


async def test_a_late_process_is_no_failure(ex: Exchange) -> None:
    process = Process()
    process.found = None
    assert await remembering(process, tried(1, True)).agreement_near(ex) is None


async def test_what_is_known_is_bounded_and_the_latest_outcome_counts(
    ex: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "MOST", 2)
    it = remembering(Process((1, 1.0)), tried(1, True), tried(1, False), tried(2, True))
    assert await it.agreement_near(ex) == pytest.approx(0.02, abs=0.01)
    it.note([tried(3, True)])
    assert await it.agreement_near(ex) == 1.0
