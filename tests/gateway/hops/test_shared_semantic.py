"""Groups of tenants that share the semantic tier: what the process may name, and who is given it when."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from semantic_cache.scope import ExactKey
from tests.gateway.support.semantic_tier import NEAR, REORDERED, STORED, Tier, feed_back, running_tier
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.upstream import ScriptedUpstream, completion

MEMBERS = ("ada", "bob", "cyd")
AGREEING = "The capital of France is Paris."
REWORDED = "The capital city of France is Paris."
WRONG = "It is Lyon, and has been since 1200."


class Group:
    """A tier that three tenants share; each question gets the answer that the test has put down for it."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.answers: dict[str, str] = {}
        self.judge = "no"
        self.judged = 0
        tier.upstream.reply = self._reply

    async def ask(self, who: str, text: str, answer: str = "?", **headers: str) -> tuple[str, str]:
        sent, said = await self.full(who, text, answer, **headers)
        return sent["x-forebay-cache"], said

    async def full(
        self, who: str, text: str, answer: str = "?", **headers: str
    ) -> tuple[dict[str, str], str]:
        self.answers[text] = answer
        before = await self.tier.metric("forebay_cache_admissions_total")
        sent, body = await self.tier.ask(text, **bearer(key_of(who)), **headers)
        if sent["x-forebay-cache"] == "miss" and "cache_control" not in headers:
            await self.tier.until(before + 1, "forebay_cache_admissions_total")
        return sent, body["choices"][0]["message"]["content"]

    async def until(self, count: int, outcome: str) -> None:
        await self.tier.until(count, "forebay_cache_confirmations_total", outcome=outcome)

    async def held(self, count: int) -> None:
        await self.tier.semantic.until(count)

    async def _reply(self, request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        said = body["messages"][-1]["content"]
        if body["model"] == "judge":
            self.judged += 1
            return web.json_response(text=completion(self.judge).decode())
        return web.json_response(text=completion(self.answers.get(said, "?")).decode())


@asynccontextmanager
async def running_group(upstream: ScriptedUpstream, folder: Path, **options: Any) -> AsyncIterator[Group]:
    shared = [{"name": "team", "tenants": list(MEMBERS), "models": ["m"]}]
    tenants = [tenant(name) for name in (*MEMBERS, "eve")]
    async with running_tier(folder, upstream, tenants=tenants, shared=shared, **options) as tier:
        yield Group(tier)


@pytest.fixture
async def group(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[Group]:
    async with running_group(upstream, tmp_path) as group:
        yield group


async def test_another_tenants_question_is_compared_and_never_served(group: Group) -> None:
    await group.ask("ada", STORED, WRONG)
    await group.held(1)
    assert await group.ask("ada", REORDERED) == ("hit-semantic", WRONG)
    assert await group.ask("bob", REORDERED, AGREEING) == ("miss", AGREEING)
    assert (
        await group.tier.metric("forebay_semantic_decisions_total", action="explore", reason="quarantined")
        == 1
    )
    # One comparison is with the question's own answers, of which there are none.
    await group.until(1, "disagrees")
    await group.until(2, "alone")
    assert await group.ask("cyd", "of France the capital is what", AGREEING) == ("miss", AGREEING)


async def test_a_fresh_answer_that_agrees_lets_everybody_have_it(group: Group) -> None:
    await group.ask("ada", STORED, AGREEING)
    await group.held(1)
    assert await group.ask("bob", REORDERED, AGREEING) == ("miss", AGREEING)
    await group.until(1, "confirmed")
    await group.held(3)
    headers, said = await group.full("cyd", "France of the capital is what", "no")
    assert (headers["x-forebay-cache"], said) == ("hit-semantic", AGREEING)
    assert await group.ask("cyd", STORED, "no") == ("hit-exact", AGREEING)
    assert await group.ask("eve", REORDERED, "Eve's.") == ("miss", "Eve's.")
    kept = {kept.key.tenant: kept async for kept in group.tier.semantic.store.scan()}
    assert kept["@team"].entry.contributor == "ada"
    assert kept["@team"].stored is not None and kept["@team"].stored.record.contributor == "ada"


async def test_labels_of_others_do_not_touch_a_tenants_own_record(group: Group) -> None:
    await group.ask("ada", STORED, AGREEING)
    await group.held(1)
    await group.ask("bob", REORDERED, WRONG)
    await group.until(1, "disagrees")
    assert await group.tier.metric("forebay_semantic_labels_total") == 0
    assert await group.ask("ada", NEAR) == ("hit-semantic", AGREEING)


async def test_the_judge_decides_where_nothing_simpler_can(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    german = "Die Hauptstadt von Frankreich ist die schöne Stadt Paris."
    reworded = "Paris, die schöne Stadt, ist die Hauptstadt und das ist Frankreich."
    async with running_group(upstream, tmp_path, more=", judge: judge") as group:
        await group.ask("ada", STORED, german)
        await group.held(1)
        await group.ask("bob", REORDERED, reworded)
        await group.until(1, "disagrees")
        assert group.judged == 1
        group.judge = "yes"
        await group.ask("cyd", REORDERED + " please", reworded)
        await group.until(1, "confirmed")


async def test_the_judge_is_asked_about_one_answer_at_most(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    # Each asks on its own account, which others must not be able to run up.
    async with running_group(upstream, tmp_path, more=", judge: judge") as group:
        for who, name in zip(MEMBERS, ("schöne", "große", "alte"), strict=True):
            await group.ask(who, STORED, f"Die {name} Hauptstadt von Frankreich ist die Stadt Paris.")
        await group.until(1, "disagrees")
        await group.until(1, "unsure")
        assert group.judged == 2


async def test_a_shared_hit_that_somebody_finds_wrong_is_withdrawn_for_good(group: Group) -> None:
    await group.ask("ada", STORED, AGREEING)
    await group.held(1)
    await group.ask("bob", REORDERED, AGREEING)
    await group.until(1, "confirmed")
    await group.held(3)
    headers, _ = await group.full("cyd", NEAR, "no", cache_control="no-store")
    assert headers["x-forebay-cache"] == "hit-semantic"
    request_id = headers["x-forebay-request-id"]
    assert (await feed_back(group.tier, request_id, {"good": False}, **bearer(key_of("cyd"))))[1][
        "effect"
    ] == "withdrawn"
    await group.held(2)
    assert (await group.ask("cyd", NEAR, "no", cache_control="no-store"))[0] == "miss"
    # Its contributor still has it, and nobody ever confirms it again; Bob's own answer is another one.
    assert await group.ask("ada", STORED) == ("hit-exact", AGREEING)
    await group.ask("cyd", STORED, AGREEING)
    await group.until(1, "withdrawn")
    left = [kept.entry.contributor async for kept in group.tier.semantic.store.scan("@team")]
    assert "ada" not in left


async def test_a_purge_of_the_contributor_reaches_the_process(group: Group) -> None:
    await group.ask("ada", STORED, AGREEING)
    await group.held(1)
    await group.ask("bob", REORDERED, AGREEING)
    await group.until(1, "confirmed")
    await group.held(3)
    await group.tier.semantic.store.purge("ada", lambda epochs: epochs.purged())
    # Bob's own is left.
    await group.held(1)
    assert (await group.ask("cyd", NEAR, "no"))[0] == "miss"


async def test_what_the_process_says_does_not_make_a_stranger_a_peer(group: Group) -> None:
    # A record of a tenant that is no member, in the very scope that the members share.
    await group.ask("ada", STORED, AGREEING)
    await group.held(1)
    (mine,) = [kept async for kept in group.tier.semantic.store.scan("ada")]
    assert mine.stored is not None
    foreign = ExactKey("eve", mine.key.digest)
    await group.tier.semantic.store.put(foreign, mine.entry, mine.stored.record)
    await group.tier.semantic.store.delete(mine.key)
    await group.held(1)
    assert await group.ask("bob", REORDERED, AGREEING) == ("miss", AGREEING)
    assert await group.tier.metric("forebay_semantic_decisions_total", action="explore") == 0


async def complain(group: Group, who: str, request_id: str) -> str:
    status, body = await feed_back(group.tier, request_id, {"good": False}, **bearer(key_of(who)))
    assert status == 200
    return str(body["effect"])


async def test_an_answer_that_was_called_wrong_is_confirmed_by_nobody_elses_copy(group: Group) -> None:
    await group.ask("ada", STORED, WRONG)
    await group.held(1)
    await group.ask("bob", STORED, WRONG)
    await group.until(1, "confirmed")
    await group.held(3)
    headers, said = await group.full("cyd", STORED, "no", cache_control="no-store")
    assert (headers["x-forebay-cache"], said) == ("hit-exact", WRONG)
    bad = headers["x-forebay-request-id"]
    assert await complain(group, "cyd", bad) == "withdrawn"
    await group.held(2)
    # The upstream says it again, and bob has it as well, of whom nobody has complained.
    assert await group.ask("cyd", STORED, WRONG) == ("miss", WRONG)
    await group.until(1, "withdrawn")
    await group.until(1, "confirmed")


async def test_who_calls_his_own_answer_wrong_does_not_get_the_groups_instead(group: Group) -> None:
    await group.ask("ada", STORED, AGREEING)
    await group.held(1)
    headers, _ = await group.full("bob", STORED, REWORDED)
    await group.until(1, "confirmed")
    await group.held(3)
    near, said = await group.full("bob", NEAR, "no", cache_control="no-store")
    assert (near["x-forebay-cache"], said) == ("hit-semantic", REWORDED)
    bad = near["x-forebay-request-id"]
    assert await complain(group, "bob", bad) == "blocked"
    assert await group.ask("bob", NEAR, "fresh", cache_control="no-store") == ("miss", "fresh")
    bad = headers["x-forebay-request-id"]
    assert await complain(group, "bob", bad) == "forgotten"
    assert await group.ask("bob", STORED, "fresh") == ("miss", "fresh")
