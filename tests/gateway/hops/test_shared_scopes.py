"""Groups of tenants that share the exact tier: what each is given, whose it is, and what nobody is given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.state.keys.key import HASH_PREFIX, digest_of
from semantic_cache.store.open import open_store
from semantic_cache.transfer import export_lines, import_line
from tests.gateway.support.running import chat
from tests.gateway.support.tenants import bearer, key_of, store_key
from tests.gateway.support.town import GROUP, Town, running_town
from tests.gateway.support.upstream import ScriptedUpstream
from tests.support.redis_server import running_redis


@pytest.fixture
async def town(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[Town]:
    async with running_town(tmp_path, upstream) as town:
        yield town


async def confirmed(town: Town, answer: str = "Forty herons.") -> None:
    """Have two tenants get the same answer."""
    assert await town.ask("ada", answer) == ("miss", answer)
    assert await town.ask("bob", answer) == ("miss", answer)


async def test_an_answer_is_its_contributors_until_a_second_tenant_gets_the_same(town: Town) -> None:
    assert await town.ask("ada", "Forty herons.") == ("miss", "Forty herons.")
    headers, said = await town.full("ada", "Fifty.")
    assert (headers["x-forebay-cache"], said) == ("hit-exact", "Forty herons.")
    assert headers["cache-status"].endswith("detail=quarantined")
    assert await town.ask("bob", "Forty herons.") == ("miss", "Forty herons.")
    headers, said = await town.full("cyd", "Fifty.")
    assert (headers["x-forebay-cache"], said) == ("hit-exact", "Forty herons.")
    assert headers["cache-status"].endswith("detail=confirmed")
    assert len(town.upstream.received) == 2
    assert await town.compared(outcome="alone") == await town.compared(outcome="confirmed") == 1
    assert await town.ask("eve", "Sixty.") == ("miss", "Sixty.")


async def test_a_stream_confirms_and_is_confirmed(town: Town) -> None:
    streamed = chat(stream=True, stream_options={"include_usage": True})
    assert await town.ask("ada", "Forty herons.", streamed) == ("miss", "Forty herons.")
    assert await town.ask("bob", "Forty herons.") == ("miss", "Forty herons.")
    assert await town.ask("cyd", "Fifty.", streamed) == ("hit-exact", "Forty herons.")


async def test_an_answer_that_disagrees_confirms_nothing_and_is_not_in_the_way(town: Town) -> None:
    await town.ask("ada", "Forty herons.")
    await town.ask("bob", "Fifty herons.")
    assert await town.compared(outcome="unsure") + await town.compared(outcome="disagrees") == 1
    # Each keeps its own; the third one agrees with one of them.
    assert await town.ask("ada") == ("hit-exact", "Forty herons.")
    assert await town.ask("bob") == ("hit-exact", "Fifty herons.")
    assert await town.ask("cyd", "Forty herons.") == ("miss", "Forty herons.")
    assert await town.compared(outcome="confirmed") == 1
    # The group has an answer now, and still each tenant's own goes first.
    assert await town.ask("bob") == ("hit-exact", "Fifty herons.")


async def test_nobody_overwrites_what_was_confirmed(town: Town) -> None:
    await confirmed(town)
    assert await town.ask("bob", "Poison.", cache_control="no-cache") == ("miss", "Poison.")
    assert await town.ask("ada", "Poison.", cache_control="no-cache") == ("miss", "Poison.")
    assert await town.compared(outcome="late") == 2
    assert await town.ask("cyd", "Fifty.") == ("hit-exact", "Forty herons.")


async def test_two_keys_of_one_tenant_are_one_tenant(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with running_town(tmp_path, upstream) as town:
        second, _ = store_key(tmp_path, "ada")
        await town.gateway.gateway.keyring.refresh()
        town.answer = "Forty herons."
        for key in (key_of("ada"), second):
            async with town.gateway.post(
                body=chat(), authorization=f"Bearer {key}", cache_control="no-cache"
            ) as response:
                assert response.headers["x-forebay-cache"] == "miss"
        async with asyncio.timeout(20):
            while await town.compared() < 2:
                await asyncio.sleep(0.005)
        assert await town.compared(outcome="alone") == 2
        assert await town.ask("bob", "Fifty.") == ("miss", "Fifty.")
    assert HASH_PREFIX + digest_of(second).hex() != HASH_PREFIX + digest_of(key_of("ada")).hex()


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({"cache_control": "private"}, {}),
        ({}, {"cache": {"namespace": "team"}}),
        ({}, {"cache": {"namespace": "@team"}}),
    ],
)
async def test_a_request_may_keep_out_of_what_is_shared(
    town: Town, headers: dict[str, str], more: dict[str, Any]
) -> None:
    await town.ask("ada", "Forty herons.", chat(**more), **headers)
    await town.ask("bob", "Forty herons.", chat(**more), **headers)
    assert await town.compared() == 0
    assert await town.ask("cyd", "Fifty.", chat(**more), **headers) == ("miss", "Fifty.")
    # Its own answers are there all the same, apart from those of its requests that are shared.
    assert await town.ask("ada", "Sixty.", chat(**more), **headers) == ("hit-exact", "Forty herons.")
    assert await town.ask("ada", "Sixty.") == ("miss", "Sixty.")


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({}, {"user": "ada"}),
        ({}, {"tenant": "ada", "group": "team"}),
        ({}, {"cache": {"namespace": "@team"}}),
        ({"cache_control": "public"}, {}),
    ],
)
async def test_nothing_that_a_request_says_puts_it_into_a_group(
    town: Town, headers: dict[str, str], more: dict[str, Any]
) -> None:
    await town.ask("ada", "Forty herons.", chat(**more), **headers)
    await town.ask("bob", "Forty herons.", chat(**more), **headers)
    assert await town.ask("eve", "Sixty.", chat(**more), **headers) == ("miss", "Sixty.")


async def test_a_header_that_means_nothing_is_refused(town: Town) -> None:
    for header in ({"x_forebay_tenant": "ada"}, {"x_forebay_group": "team"}):
        async with town.gateway.post(authorization=f"Bearer {key_of('eve')}", **header) as response:
            assert response.status == 400


async def test_only_the_models_of_a_group_are_shared(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with running_town(tmp_path, upstream, shared=[{**GROUP, "models": ["other"]}]) as town:
        for who in ("ada", "bob"):
            async with town.gateway.post(body=chat("m"), authorization=f"Bearer {key_of(who)}") as response:
                assert response.headers["x-forebay-cache"] == "miss"
        await confirmed_with(town, chat("other"))
        assert await town.ask("cyd", "Fifty.", chat("other")) == ("hit-exact", "Forty herons.")
        assert await town.compared() == 2


async def confirmed_with(town: Town, body: dict[str, Any]) -> None:
    for who in ("ada", "bob"):
        assert await town.ask(who, "Forty herons.", body) == ("miss", "Forty herons.")


async def test_tenants_that_ask_at_once_do_not_share_a_call(town: Town) -> None:
    town.answer = "Forty herons."
    answers = await asyncio.gather(*(town.ask(who) for who in ("ada", "bob", "cyd") for _ in range(3)))
    assert len(town.upstream.received) == 3
    assert [verdict for verdict, _ in answers].count("coalesced") + [verdict for verdict, _ in answers].count(
        "miss"
    ) == 9


async def test_an_answer_past_its_time_is_confirmed_anew(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with running_town(tmp_path, upstream, stale_s=600) as town:
        await town.ask("ada", "Forty herons.", x_forebay_cache_ttl="5")
        await town.ask("bob", "Forty herons.", x_forebay_cache_ttl="5")
        assert (await town.ask("cyd", "Fifty."))[0] == "hit-exact"
        async with asyncio.timeout(20):
            while (await town.ask("cyd", "Forty-one herons.")) != ("stale", "Forty herons."):
                await asyncio.sleep(0.02)
        async with asyncio.timeout(20):
            while await town.compared(outcome="alone") < 2:
                await asyncio.sleep(0.005)
        # Its own fresh one goes before the group's stale one.
        assert await town.ask("cyd") == ("hit-exact", "Forty-one herons.")
        await town.ask("bob", "Forty-one herons.", cache_control="no-cache")
        assert await town.compared(outcome="confirmed") == 2


async def test_a_purge_of_the_contributor_takes_the_groups_answer_along(town: Town, tmp_path: Path) -> None:
    await confirmed(town)
    store = open_store(f"sqlite://{tmp_path}/cache.db")
    await store.purge("bob", lambda epochs: epochs.purged())
    assert (await town.ask("cyd"))[0] == "hit-exact"
    await store.purge("ada", lambda epochs: epochs.purged())
    assert await town.ask("cyd", "Fifty.") == ("miss", "Fifty.")
    await store.close()


async def test_a_groups_answers_survive_a_restart_and_an_export(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async with running_town(tmp_path, upstream) as town:
        await confirmed(town)
        await town.ask("ada", "Blue.", chat(seed=1))
    async with running_town(tmp_path, upstream) as town:
        assert await town.ask("cyd", "Fifty.") == ("hit-exact", "Forty herons.")
        # What was quarantined is so still.
        assert await town.ask("cyd", "Green.", chat(seed=1)) == ("miss", "Green.")
    here, there = (open_store(f"sqlite://{tmp_path}/{name}.db") for name in ("cache", "other"))
    await there.purge("ada", lambda epochs: epochs.purged())
    lines = [line async for line in export_lines(here)]
    assert all([await import_line(there, line) for line in lines])
    async with running_town(tmp_path, upstream, store=f"sqlite://{tmp_path}/other.db") as town:
        town.upstream.received.clear()
        body = chat(seed=1)
        assert await town.ask("ada", "Red.", body) == ("hit-exact", "Blue.")
        assert await town.ask("bob", "Blue.", body) == ("miss", "Blue.")
        assert await town.compared(outcome="confirmed") == 1
    await there.purge("ada", lambda epochs: epochs.purged())
    assert not [kept async for kept in there.scan("@team")]
    await here.close()
    await there.close()


async def test_groups_over_redis(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        async with running_town(tmp_path, upstream, store=server.url) as town:
            await town.ask("ada", "Forty herons.")
            assert await town.ask("bob", "Fifty herons.") == ("miss", "Fifty herons.")
            assert await town.ask("cyd", "Forty herons.") == ("miss", "Forty herons.")
            assert await town.compared(outcome="confirmed") == 1
            assert await town.ask("eve", "Sixty.") == ("miss", "Sixty.")
        # Another gateway, which has neither seen anything of it nor is in the group's way.
        async with running_town(tmp_path, upstream, store=server.url) as town:
            headers, _ = await town.full("bob", "No.")
            await town.feedback("bob", headers["x-forebay-request-id"], good=False)
            headers, said = await town.full("bob", "No.")
            assert (headers["cache-status"].endswith("confirmed"), said) == (True, "Forty herons.")
            headers, said = await town.full("cyd", "No.")
            assert (headers["cache-status"].endswith("quarantined"), said) == (True, "Forty herons.")
            await town.feedback("cyd", headers["x-forebay-request-id"], good=False)
            assert await town.ask("cyd", "No.") == ("miss", "No.")


@pytest.mark.parametrize("who", ["ada", "bob", "cyd"])
async def test_a_tenant_that_finds_a_shared_answer_wrong_takes_it_from_all(town: Town, who: str) -> None:
    await confirmed(town)
    headers, _ = await town.full(who)
    effect = await town.feedback(who, headers["x-forebay-request-id"], good=False)
    assert effect == ("withdrawn" if who == "cyd" else "forgotten")
    # Be it the one that had it first, the one that got the same, or one that was given it.
    assert await town.ask("cyd", "Fifty.") == ("miss", "Fifty.")


async def test_a_fresh_answer_that_is_found_wrong_is_forgotten_and_nobody_elses_is(town: Town) -> None:
    await town.ask("ada", "Forty herons.")
    headers, _ = await town.full("bob", "Fifty herons.")
    assert await town.feedback("bob", headers["x-forebay-request-id"], good=False) == "forgotten"
    assert await town.ask("bob", "Sixty herons.") == ("miss", "Sixty herons.")
    assert await town.ask("ada", "No.") == ("hit-exact", "Forty herons.")
    # The one that confirmed it may take its word back, and with it what the group has.
    headers, _ = await town.full("cyd", "Forty herons.")
    assert headers["x-forebay-cache"] == "miss" and await town.compared(outcome="confirmed") == 1
    assert await town.feedback("cyd", headers["x-forebay-request-id"], good=False) == "forgotten"
    assert await town.ask("cyd", "Seventy.") == ("miss", "Seventy.")
    assert await town.ask("ada", "No.") == ("hit-exact", "Forty herons.")


async def test_praise_changes_nothing_about_an_exact_hit(town: Town) -> None:
    await confirmed(town)
    headers, _ = await town.full("cyd")
    assert await town.feedback("cyd", headers["x-forebay-request-id"], good=True) == "none"
    assert (await town.ask("cyd"))[0] == "hit-exact"


async def test_a_span_says_whose_answer_it_was(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with running_town(tmp_path, upstream, traced=True) as town:
        await confirmed(town)
        for who in ("ada", "cyd"):
            await town.ask(who)
        spans = [span.attributes for span in town.gateway.spans if span.name == "cache.exact"]
    said = [span.get("forebay.cache.sharing") for span in spans]
    assert said == [None, None, "quarantined", "confirmed"]


async def test_what_was_asked_not_to_be_stored_confirms_nothing(town: Town) -> None:
    await town.ask("ada", "Forty herons.")
    assert await town.ask("bob", "Forty herons.", cache_control="no-store") == ("miss", "Forty herons.")
    assert await town.ask("cyd", "Fifty.") == ("miss", "Fifty.")


async def test_of_several_choices_all_must_be_equal(town: Town) -> None:
    second = "Yes, quite safe."

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        choices = [
            {"index": at, "text": text, "finish_reason": "stop", "logprobs": None}
            for at, text in enumerate(("Four.", second))
        ]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
        return web.json_response(answer | {"choices": choices, "usage": usage})

    async def ask(who: str) -> str:
        body = json.dumps({"model": "m", "prompt": ["2 + 2?", "Is this safe?"]}).encode()
        async with town.gateway.post("/v1/completions", body, **bearer(key_of(who))) as response:
            assert response.status == 200
            return (await response.json())["choices"][1]["text"]

    town.upstream.reply = reply
    assert await ask("ada") == second
    second = "No, never do that."
    assert await ask("bob") == second
    async with asyncio.timeout(20):
        while await town.compared() < 2:
            await asyncio.sleep(0.005)
    assert await town.compared(outcome="confirmed") == 0
    second = "Perhaps."
    assert await ask("cyd") == second
