"""Savings of real requests: in records, metrics, and at `GET /forebay/savings`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from router.policy.learned import save
from tests.gateway.hops.test_share_calls import readers
from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.semantic_tier import REORDERED, STORED, running_tier
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.two_models import BY_ANSWER, QUESTION, TWO_MODELS, WRONG, Two
from tests.gateway.support.upstream import (
    ScriptedUpstream,
    completion,
    json_reply,
    scripted_upstream,
    stream_reply,
)
from tests.support.redis_server import running_redis

# Ten tokens in and two out: a dollar each.
PRICED = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
models:
  m: {{upstream: up, price: {{input: 1000000, output: 1000000, batch: 0.5}}}}
  free: {{upstream: up}}
{more}
"""
EXACT = "cache: {semantic: null, store: 'sqlite://${FOLDER}/cache.db'}"


async def ask(gateway: RunningGateway, body: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
    """Ask, and return the record."""
    async with gateway.post(body=body, **headers) as response:
        assert response.status == 200, await response.text()
        await response.read()
        request_id = response.headers["x-forebay-request-id"]
    path = f"/forebay/requests/{request_id}"
    keys = {"authorization": headers["authorization"]} if "authorization" in headers else {}
    async with asyncio.timeout(10):
        while True:
            # A record is made when the last byte is out, which the client may see first.
            async with gateway.get(path, headers=keys) as response:
                if response.status == 200:
                    record: dict[str, Any] = await response.json()
                    return record


async def page(gateway: RunningGateway, query: str = "", **headers: str) -> dict[str, Any]:
    async with gateway.get(f"/forebay/savings{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


def usd(found: dict[str, Any]) -> tuple[float, float, dict[str, float]]:
    total = found["total"]
    assert total["saved_usd"] == pytest.approx(total["direct_usd"] - total["actual_usd"])
    assert total["saved_usd"] == pytest.approx(sum(of["usd"] for of in total["layers"].values()))
    return total["direct_usd"], total["actual_usd"], {n: of["usd"] for n, of in total["layers"].items()}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hit_saves_what_the_answer_would_have_cost(
    upstream: ScriptedUpstream, tmp_path: Path, stream: bool
) -> None:
    upstream.reply = stream_reply() if stream else json_reply(completion())
    yaml = PRICED.format(url=upstream.base_url, more=EXACT)
    async with running_gateway(yaml, tmp_path, cached=True, environ={"FOLDER": str(tmp_path)}) as gateway:
        miss = await ask(gateway, chat(stream=stream))
        await until_kept(gateway)
        hit = await ask(gateway, chat(stream=stream))
        assert miss["savings"] == {
            "direct_usd": 12,
            "actual_usd": 12,
            "batch_usd": 6,
            "layers": {},
            "estimated_s": {},
        }
        assert (hit["cache"], hit["savings"]["actual_usd"]) == ("hit-exact", 0)
        assert hit["savings"]["layers"] == {"exact": 12}
        assert set(hit["savings"]["estimated_s"]) == {"exact"}
        found = await page(gateway)
        assert usd(found) == (24, 12, {"exact": 12})
        assert (found["tenant"], found["total"]["requests"], found["total"]["batch_usd"]) == (
            "default",
            2,
            12,
        )
        assert len(found["days"]) == 1
        async with gateway.get("/metrics") as response:
            metrics = await response.text()
        labels = '{layer="exact",tenant="default"}'
        assert f"forebay_savings_usd_total{labels} 12.0" in metrics
        assert f"forebay_savings_requests_total{labels} 1.0" in metrics


async def test_a_streams_report_says_it_as_well(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.reply = stream_reply()
    async with (
        running_gateway(PRICED.format(url=upstream.base_url, more=""), tmp_path) as gateway,
        gateway.post(body=chat(stream=True), x_forebay_report="1") as response,
    ):
        lines = (await response.read()).splitlines()
    report = next(line for line in lines if line.startswith(b": forebay "))
    assert json.loads(report.removeprefix(b": forebay "))["savings"]["direct_usd"] == 12


async def test_identical_requests_under_way_are_paid_once(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    held = asyncio.Event()
    answer = json_reply(completion())

    async def reply(request: Any, received: bytes) -> Any:
        await held.wait()
        return await answer(request, received)

    upstream.reply = reply
    yaml = PRICED.format(url=upstream.base_url, more=EXACT)
    async with running_gateway(yaml, tmp_path, cached=True, environ={"FOLDER": str(tmp_path)}) as gateway:
        asking = [asyncio.create_task(ask(gateway)) for _ in range(4)]
        async with asyncio.timeout(10):
            while "forebay_requests_in_flight 4.0" not in await _metrics(gateway):
                await asyncio.sleep(0.005)
        held.set()
        records = await asyncio.gather(*asking)
        assert sorted(record["savings"]["actual_usd"] for record in records) == [0, 0, 0, 12]
        assert usd(await page(gateway)) == (48, 12, {"coalesced": 36})
    assert len(upstream.received) == 1


async def _metrics(gateway: RunningGateway) -> str:
    async with gateway.get("/metrics") as response:
        text: str = await response.text()
        return text


async def test_another_questions_answer_saves_as_well(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with running_tier(tmp_path, upstream, more=", error_budget: 0.5") as tier:
        await tier.ask(STORED)
        await tier.until(1, "forebay_semantic_admissions_total", outcome="stored")
        before = usd(await page(tier.gateway))
        async with asyncio.timeout(30):
            while (await tier.verdict(REORDERED, cache_control="no-store")) != "hit-semantic":
                before = usd(await page(tier.gateway))
        after = usd(await page(tier.gateway))
    assert after[0] - before[0] == 12
    assert after[1] == before[1]
    assert after[2]["semantic"] == 12


@pytest.fixture
async def other_upstream() -> Any:
    async with scripted_upstream() as server:
        yield server


async def test_a_small_models_answer_and_an_escalation(
    upstream: ScriptedUpstream, other_upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    two = Two(upstream, other_upstream)
    save(BY_ANSWER, tmp_path / "policy.json")
    policy = tmp_path / "policy.json"
    near, far = upstream.base_url, other_upstream.base_url
    yaml = TWO_MODELS.format(near=near, far=far, policy=policy, small="", large="", route="")
    async with running_gateway(yaml, tmp_path) as gateway:
        body = chat("auto", messages=[{"role": "user", "content": QUESTION}])
        kept = await ask(gateway, body)
        assert (kept["route"], kept["savings"]["layers"]) == ("small", {"cascade": 126e-6})
        two.small.reply = json_reply(completion(WRONG))
        escalated = await ask(gateway, body)
        assert (escalated["route"], escalated["savings"]["layers"]) == ("small>large", {"escalation": -14e-6})
        assert escalated["savings"]["actual_usd"] == pytest.approx(escalated["cost_usd"])
        layers = usd(await page(gateway))[2]
        assert layers == {"cascade": 126e-6, "escalation": -14e-6}
        labels = '{layer="escalation",tenant="default"}'
        assert f"forebay_savings_added_usd_total{labels} 1.4e-05" in await _metrics(gateway)


async def test_an_error_after_a_small_models_answer_saves_nothing(
    upstream: ScriptedUpstream, other_upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    two = Two(upstream, other_upstream)
    two.small.reply = json_reply(completion(WRONG))
    two.large.reply = json_reply(b'{"error": {"message": "busy"}}', 429)
    save(BY_ANSWER, tmp_path / "policy.json")
    policy = tmp_path / "policy.json"
    near, far = upstream.base_url, other_upstream.base_url
    yaml = TWO_MODELS.format(near=near, far=far, policy=policy, small="", large="", route="")
    async with running_gateway(yaml, tmp_path) as gateway:
        body = chat("auto", messages=[{"role": "user", "content": QUESTION}])
        async with gateway.post(body=body) as response:
            assert response.status == 429
            await gateway.settled(response.headers["x-forebay-request-id"])
        assert usd(await page(gateway)) == (0, 14e-6, {"escalation": -14e-6})


async def test_a_shorter_prompt_saves_its_tokens(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    rows = json.dumps([{"name": f"row {at}", "value": at} for at in range(200)], indent=8)
    messages = [{"role": "user", "content": rows}, {"role": "user", "content": "Which value has row 7?"}]
    async with running_gateway(PRICED.format(url=upstream.base_url, more=""), tmp_path) as gateway:
        record = await ask(gateway, chat(messages=messages))
        made = record["compression"]
        assert made["tokens_before"] > made["tokens_after"]
        saved = record["savings"]["layers"]["compression"]
        # The record rounds both of its numbers.
        assert abs(saved - (made["tokens_before"] - made["tokens_after"])) <= 1


async def test_what_has_no_price_is_counted_apart(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async with running_gateway(PRICED.format(url=upstream.base_url, more=""), tmp_path) as gateway:
        assert (await ask(gateway, chat("free")))["savings"] is None
        total = (await page(gateway))["total"]
        assert (total["requests"], total["unpriced"], total["direct_usd"]) == (0, 1, 0)


async def test_each_tenant_sees_its_own(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    more = f"tenants: {json.dumps([tenant('ada'), tenant('bob')])}"
    async with running_gateway(PRICED.format(url=upstream.base_url, more=more), tmp_path) as gateway:
        await ask(gateway, **bearer(key_of("ada")))
        assert usd(await page(gateway, **bearer(key_of("ada"))))[0] == 12
        assert usd(await page(gateway, **bearer(key_of("bob")))) == (0, 0, {})
        async with gateway.get("/forebay/savings") as response:
            assert response.status == 401


@pytest.mark.parametrize("query", ["?days=0", "?days=401", "?days=x", "?days=", "?day=1", "?days=1&days_=2"])
async def test_what_it_does_not_understand_it_refuses(gateway: RunningGateway, query: str) -> None:
    async with gateway.get(f"/forebay/savings{query}") as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_a_restart_loses_nothing(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    yaml = PRICED.format(url=upstream.base_url, more="")
    for times in (1, 2, 3):
        async with running_gateway(yaml, tmp_path) as gateway:
            await ask(gateway)
            assert usd(await page(gateway, "?days=2"))[0] == 12 * times
            await ask(gateway, chat("free"))
    async with running_gateway(yaml, tmp_path) as gateway:
        assert (await page(gateway, "?days=2"))["total"]["unpriced"] == 3


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path / "redis") as server:
        yield server.url


async def test_gateways_over_one_redis_add_up(
    upstream: ScriptedUpstream, tmp_path: Path, redis_url: str
) -> None:
    environ = {"FOREBAY__STATE__STORE": redis_url}
    yaml = PRICED.format(url=upstream.base_url, more="")
    (tmp_path / "other").mkdir()
    async with (
        running_gateway(yaml, tmp_path, environ=environ) as one,
        running_gateway(yaml, tmp_path / "other", environ=environ) as other,
    ):
        await asyncio.gather(*(ask(gateway) for gateway in (one, other) for _ in range(5)))
        # Its own part is in the store once it has been asked.
        await page(one)
        assert usd(await page(other))[:2] == (120, 120)


async def test_who_follows_another_gateways_call_saves_it(
    upstream: ScriptedUpstream, tmp_path: Path, redis_url: str
) -> None:
    held = asyncio.Event()
    answer = json_reply(completion())

    async def reply(request: Any, received: bytes) -> Any:
        await held.wait()
        return await answer(request, received)

    upstream.reply = reply
    environ = {"FOREBAY__STATE__STORE": redis_url}
    yaml = PRICED.format(url=upstream.base_url, more=f"cache: {{semantic: null, store: '{redis_url}'}}")
    (tmp_path / "other").mkdir()
    async with (
        running_gateway(yaml, tmp_path, cached=True, environ=environ) as one,
        running_gateway(yaml, tmp_path / "other", cached=True, environ=environ) as other,
    ):
        leading = asyncio.create_task(ask(one))
        await asyncio.wait_for(upstream.arrived.wait(), 10)
        following = asyncio.create_task(ask(other))
        with redis.Redis.from_url(redis_url) as raw:
            await readers(raw, 1)
        held.set()
        assert (await leading)["savings"]["layers"] == {}
        assert (await following)["savings"]["layers"] == {"coalesced": 12}
        await page(one)
        assert usd(await page(other)) == (24, 12, {"coalesced": 12})


async def test_a_store_out_of_reach_costs_no_request(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    yaml = PRICED.format(url=upstream.base_url, more=f"tenants: {json.dumps([tenant('ada')])}")
    async with running_gateway(yaml, tmp_path) as gateway:
        await ask(gateway, **bearer(key_of("ada")))
        await page(gateway, **bearer(key_of("ada")))
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / "state.db").mkdir()
        record = await ask(gateway, **bearer(key_of("ada")))
        assert record["savings"]["direct_usd"] == 12
        async with gateway.get("/forebay/savings", headers=bearer(key_of("ada"))) as response:
            assert response.status == 503
        (tmp_path / "state.db").rmdir()
        assert usd(await page(gateway, **bearer(key_of("ada"))))[0] == 12
