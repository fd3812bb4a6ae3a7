"""What a stale answer is fetched anew with."""

from __future__ import annotations

import asyncio

import pytest

from gateway.answer import Answer
from gateway.cache_state import CacheState
from gateway.exchange import Exchange
from gateway.refresh import Refresher
from gateway.wire.request import Endpoint
from semantic_cache.directives import read_directives
from semantic_cache.scope import ExactKey

KEY = ExactKey("t", b"0" * 32)


async def refreshed(cache_control: str) -> list[Exchange]:
    """Return the exchanges by which a stale answer to such a request is fetched."""
    seen: list[Exchange] = []

    async def run(ex: Exchange) -> Answer:
        seen.append(ex)
        return Answer(200, b"{}", {})

    async def receive(limit: int) -> bytes:
        return b"{}"

    refresher = Refresher()
    refresher.bind(run)
    asked = Exchange(Endpoint.CHAT, {"Cache-Control": cache_control, "x-forebay-session": "s"}, receive)
    asked.cache = CacheState(read_directives(cache_control, None, None, None))
    refresher.start(asked, KEY)
    await asyncio.sleep(0)
    await refresher.close()
    return seen


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("max-stale=60", "no-cache"),
        ("private", "no-cache, private"),
        ("max-stale, private", "no-cache, private"),
    ],
)
async def test_it_is_fetched_past_the_cache_and_kept_to_who_asked(asked: str, sent: str) -> None:
    (again,) = await refreshed(asked)
    assert again.headers["cache-control"] == sent
    assert not again.asked_for


async def test_what_must_not_be_stored_is_not_fetched_to_be_stored() -> None:
    assert await refreshed("no-store") == []
