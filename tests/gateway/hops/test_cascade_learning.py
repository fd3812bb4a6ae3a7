"""A route that learns: what it begins with, what it learns from, and what it does when things change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.state.outcomes.sqlite import SqliteOutcomes
from router.after.signs import SmallAnswer, signs_of
from router.before.query_signs import query_signs
from router.online.tried import Tried
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import (
    ScriptedUpstream,
    chunk,
    completion,
    scripted_upstream,
    stream_reply,
)

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}"}}
models:
  small: {{upstream: up, price: {{input: 1, output: 2}}}}
  middle: {{upstream: up, price: {{input: 4, output: 8}}}}
  large: {{upstream: up, price: {{input: 10, output: 20}}}}
  judge: {{upstream: up}}
routes:
  auto: {{tiers: {tiers}, {knobs}}}
"""
PATIENT_S = 30.0
Says = Callable[[str, int, int], str]


@pytest.fixture(autouse=True)
def no_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with the package may change; what a route makes of a prior is tested beside the policy."""
    monkeypatch.setattr("gateway.routing.live.shipped_prior", lambda: None)


def sums(right: Callable[[str, int, int], bool]) -> Says:
    """Models that calculate in the open; `right` says when they do it well."""

    def says(model: str, a: int, b: int) -> str:
        return f"{a} * {b} = {a * b if right(model, a, b) else a * b + 7}"

    return says


class World:
    """Models behind one upstream, and a gateway with a route over them."""

    def __init__(self, gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self._next = 0

    async def ask(self, count: int = 1, **more: Any) -> list[str]:
        """Ask as many new questions; returns who answered each."""
        found = []
        for _ in range(count):
            self._next += 1
            text = f"What are {3 + self._next % 83} boxes of {5 + self._next}?"
            body = chat("auto") | {"messages": [{"role": "user", "content": text}], **more}
            async with self.gateway.post(body=body) as response:
                raw = await response.read()
                assert response.status == 200, raw
                found.append(response.headers["x-forebay-route"])
        return found

    def asked(self, model: str) -> int:
        return sum(json.loads(call.body)["model"] == model for call in self.upstream.received)

    async def metric(self, name: str, **labels: str) -> float:
        async with self.gateway.get("/metrics") as response:
            page = await response.text()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in page.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
            and all(f'{key}="{value}"' in line for key, value in labels.items())
        )

    async def until(self, count: float, name: str, **labels: str) -> None:
        async with asyncio.timeout(PATIENT_S):
            while await self.metric(name, **labels) < count:
                await asyncio.sleep(0.01)

    async def learned(self, count: int) -> None:
        """Wait until as many answers have been compared."""
        await self.until(count, "forebay_route_outcomes_total")

    async def until_answers(self, route: str) -> None:
        """Ask until a question is answered by these models."""
        async with asyncio.timeout(PATIENT_S):
            while (await self.ask())[0] != route:
                pass


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    says: Says,
    knobs: str = "shadow: 1.0",
    tiers: str = "[small, large]",
    **how: Any,
) -> AsyncIterator[World]:
    async with scripted_upstream() as upstream:

        async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
            body = json.loads(received)
            text = body["messages"][-1]["content"]
            if body["model"] == "judge":
                return web.json_response(text=completion("yes").decode())
            a, b = map(int, re.findall(r"\d+", text))
            said = says(body["model"], a, b)
            if body.get("stream"):
                return await stream_reply(chunk({"content": said}), chunk({}, "stop"))(request, received)
            return web.json_response(text=completion(said).decode())

        upstream.reply = reply
        text = CONFIG.format(url=upstream.base_url, knobs=knobs, tiers=tiers)
        async with running_gateway(text, folder, **how) as gateway:
            yield World(gateway, upstream)


def known(folder: Path, says: Says, *tiers: str, count: int = 300) -> None:
    """Let a route begin with outcomes of these models."""
    rows = []
    for number in range(count):
        a, b = 3 + number % 83, 5 + number
        question = f"What are {a} boxes of {b}?"
        for tier in tiers:
            said = says(tier, a, b)
            signs = signs_of(SmallAnswer(question, said, "stop"))
            agrees = said == says("large", a, b)
            rows.append(
                Tried(f"{tier}{number}", "default", tier, 1.0 + number, query_signs(question), signs, agrees)
            )
    SqliteOutcomes(folder / "state.db").add("auto", rows, [])


def mostly_right(model: str, a: int, b: int) -> bool:
    return model != "small" or b % 10 != 0


async def test_outcomes_say_which_tier_they_were_compared_with(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        await it.ask()
        await it.learned(1)
    (one,) = SqliteOutcomes(tmp_path / "state.db").since("auto", {}).tried
    assert (one.tier, one.last) == ("small", "large")


async def test_at_first_the_last_tier_answers_and_the_small_one_is_asked_beside_it(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right), traced=True) as it:
        assert await it.ask(3) == ["large"] * 3
        await it.learned(3)
        assert it.asked("small") == 3
        assert await it.metric("forebay_route_outcomes_total", source="shadow", label="same") == 3
        assert await it.metric("forebay_route_shadow_cost_usd_total", route="auto") == pytest.approx(
            3 * 14e-6
        )
        spans = it.gateway.spans
        shadow = next(span for span in spans if span.name == "route.shadow")
        route = next(span for span in spans if span.name == "route")
        assert shadow.parent == route.parent
        assert "nothing vouches for its answers yet" in str(route.attributes["forebay.route.reason"])


async def test_it_learns_which_answers_may_be_kept(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        await it.ask(110)
        await it.until_answers("small")
        answered = await it.ask(40)
        assert answered.count("small") >= 30
        # Every tenth sum is wrong, and can be seen to be.
        assert "small>large" in answered
        await it.until(1, "forebay_route_outcomes_total", source="escalation")
        assert await it.metric("forebay_route_regret_total", route="auto") == 0


async def test_what_was_learned_is_there_after_a_start(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        await it.ask(110)
        await it.learned(110)
    async with world(tmp_path, sums(mostly_right)) as it:
        assert "small" in await it.ask(3)


async def test_a_small_model_that_shows_nothing_and_errs_is_never_kept(tmp_path: Path) -> None:
    def says(model: str, a: int, b: int) -> str:
        return f"It is {a * b + (9 if model == 'small' and b % 2 else 0)}."

    known(tmp_path, says, "small")
    async with world(tmp_path, says) as it:
        assert set(await it.ask(20)) <= {"large", "small>large"}


async def test_without_shadows_nothing_is_asked_in_the_background(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right), "shadow: 0") as it:
        assert await it.ask(20) == ["large"] * 20
        assert it.asked("small") == 0


async def test_streams_teach_as_well(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        await it.ask(3, stream=True)
        await it.learned(3)
        assert await it.metric("forebay_route_outcomes_total", label="same") == 3


async def test_requests_that_no_small_model_could_be_judged_on_teach_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        await it.ask(2, n=2)
        await it.ask(1)
        await it.learned(1)
        assert it.asked("small") == 1


async def test_a_model_is_not_asked_for_what_it_cannot_do_in_the_background_either(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    unable = {"FOREBAY__MODELS__SMALL__CAPABILITIES__TOOLS": "false"}
    async with world(tmp_path, sums(mostly_right), environ=unable) as it:
        assert await it.ask(2, tools=tools) == ["large"] * 2
        await it.ask(1)
        await it.learned(1)
        assert it.asked("small") == 1


async def test_calls_of_tools_teach_as_well(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        await it.ask(2, tools=[{"type": "function", "function": {"name": "f"}}])
        await it.learned(2)
        assert it.asked("small") == 2


async def test_three_tiers_are_asked_in_turn_until_one_is_good_enough(tmp_path: Path) -> None:
    def right(model: str, a: int, b: int) -> bool:
        return {"small": b % 4 != 0, "middle": b % 8 != 0}.get(model, True)

    known(tmp_path, sums(right), "small", "middle")
    async with world(tmp_path, sums(right), tiers="[small, middle, large]") as it:
        await it.until_answers("small>middle")
        await it.until_answers("small>middle>large")
        assert "small" in await it.ask(10)


async def test_a_tier_that_costs_more_and_is_worse_is_never_asked_first(tmp_path: Path) -> None:
    async with world(tmp_path, sums(lambda model, a, b: True), tiers="[large, small]", traced=True) as it:
        # Listed the wrong way round: the dear one as the one to be tried first.
        assert await it.ask(3) == ["small"] * 3
        reason = str(it.gateway.spans[-1].attributes) + str([s.attributes for s in it.gateway.spans])
        assert "large costs no less than small and is no better" in reason


async def test_a_budget_is_kept_by_the_small_model(tmp_path: Path) -> None:
    # 14 and 140 millionths for a call: escalating two of ten costs 42.
    async with world(tmp_path, sums(mostly_right), "budget: 0.000045") as it:
        answered = await it.ask(80)
        spent = [14e-6 if route == "small" else 154e-6 for route in answered]
        assert sum(spent) / len(spent) <= 0.000055
        assert answered.count("small>large") > 8


async def test_a_judge_is_asked_where_nothing_simpler_can_tell(tmp_path: Path) -> None:
    def says(model: str, a: int, b: int) -> str:
        return "A great many boxes." if model == "small" else "Quite a lot of them, I should say."

    async with world(tmp_path, says, "shadow: 1.0, judge: judge") as it:
        await it.ask(2)
        await it.learned(2)
        assert it.asked("judge") == 2
        assert await it.metric("forebay_route_outcomes_total", label="same") == 2


async def test_a_model_that_gets_worse_is_trusted_no_longer_until_it_is_good_again(tmp_path: Path) -> None:
    works = True

    def says(model: str, a: int, b: int) -> str:
        # It says nothing that could give it away.
        return f"It is {a * b + (0 if works or model == 'large' else 7)}."

    known(tmp_path, says, "small")
    async with world(tmp_path, says, traced=True) as it:
        await it.until_answers("small")
        works = False
        await it.until_answers("large")
        assert await it.metric("forebay_route_drift", route="auto") == 1
        reasons = [str(span.attributes.get("forebay.route.reason")) for span in it.gateway.spans]
        assert any("passed over: kept answers are wrong more often" in reason for reason in reasons)
        works = True
        await it.ask(110)
        await it.until_answers("small")
        assert await it.metric("forebay_route_drift", route="auto") == 0


async def test_a_shadow_that_hangs_keeps_nobody_from_an_answer_nor_the_gateway_from_its_end(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        answer = it.upstream.reply

        async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
            if json.loads(received)["model"] == "small":
                await asyncio.Event().wait()
            return await answer(request, received)

        it.upstream.reply = reply
        assert await it.ask(2) == ["large"] * 2
        async with asyncio.timeout(PATIENT_S):
            while it.asked("small") < 2:
                await asyncio.sleep(0.005)
        assert await it.metric("forebay_route_outcomes_total") == 0
        upstream = it.upstream
    assert upstream.left.is_set()


async def test_a_request_that_its_client_left_teaches_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, sums(mostly_right)) as it:
        answer, hangs = it.upstream.reply, True

        async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
            if hangs:
                await asyncio.Event().wait()
            return await answer(request, received)

        it.upstream.reply = reply
        asking = asyncio.create_task(it.ask())
        await it.upstream.arrived.wait()
        asking.cancel()
        await it.upstream.left.wait()
        hangs = False
        await it.ask()
        await it.learned(1)
        assert it.asked("small") == 1
        assert await it.metric("forebay_route_answers_total", route="auto") == 1
