"""Whose request is it, and whose record: keys over HTTP."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.state.keys.sqlite import SqliteKeys
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of, store_key, tenant
from tests.gateway.support.upstream import ScriptedUpstream

LOCKED = ("/v1/models", "/v1/models/m", "/forebay/requests/req_0")


@pytest.fixture
async def two(config: str, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway with the tenants `a` and `b`."""
    tenants = json.dumps([tenant("a"), tenant("b")])
    async with running_gateway(f"{config}\ntenants: {tenants}\n", tmp_path) as running:
        yield running


async def refused(response: Any) -> dict[str, Any]:
    async with response as answer:
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        error: dict[str, Any] = (await answer.json())["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
    return error


async def test_without_any_key_everybody_is_the_default_tenant(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with gateway.post() as response:
        assert response.status == 200
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    assert record["tenant"] == "default" and not (tmp_path / "state.db").exists()


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer fb-a", "Bearer wrong", f"Basic {key_of('a')}", key_of("a"),
     f"Bearer {key_of('a')}x", f"Bearer {key_of('a').upper()}", f"Bearer {key_of('a')},Bearer x"],
)  # fmt: skip
async def test_a_stranger_learns_nothing(
    two: RunningGateway, upstream: ScriptedUpstream, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    error = await refused(two.post(**headers))
    for path in LOCKED:
        assert await refused(two.get(path, headers=headers)) == error
    assert upstream.received == []


async def test_a_stranger_is_refused_before_its_request_is_looked_at(two: RunningGateway) -> None:
    await refused(two.post(body=b"{", x_forebay_nonsense="1", content_type="text/plain"))


async def test_probes_and_metrics_ask_for_no_key(two: RunningGateway) -> None:
    for path in ("/health", "/health/ready", "/metrics"):
        async with two.get(path) as response:
            assert response.status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_key_opens_everything(two: RunningGateway, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {key_of('a')}"}
    async with two.post(**headers) as response:
        assert response.status == 200
    async with two.get("/v1/models", headers=headers) as response:
        assert response.status == 200


async def test_the_key_stays_here(two: RunningGateway, upstream: ScriptedUpstream) -> None:
    async with two.post(**bearer(key_of("a"))) as response:
        await response.read()
    assert upstream.received[0].headers["authorization"] == "Bearer sk-upstream-secret"
    assert key_of("a") not in str(upstream.received[0])


async def test_a_record_is_shown_to_its_own_tenant_only(two: RunningGateway) -> None:
    async with two.post(**bearer(key_of("a"))) as response:
        path = f"/forebay/requests/{response.headers['x-forebay-request-id']}"
        await response.read()
    async with two.get(path, headers=bearer(key_of("a"))) as response:
        assert (await response.json())["tenant"] == "a"
    async with two.get(path, headers=bearer(key_of("b"))) as response:
        theirs = response.status, await response.json()
    async with two.get("/forebay/requests/req_0", headers=bearer(key_of("b"))) as response:
        assert theirs == (response.status, await response.json()) and response.status == 404


async def test_a_body_cannot_choose_its_tenant(two: RunningGateway) -> None:
    body = {**chat(), "tenant": "b", "user": "b"}
    async with two.post(body=body, **bearer(key_of("a"))) as response:
        request_id = response.headers["x-forebay-request-id"]
    async with two.get(f"/forebay/requests/{request_id}", headers=bearer(key_of("a"))) as response:
        assert (await response.json())["tenant"] == "a"


async def test_what_strangers_send_displaces_no_records(two: RunningGateway) -> None:
    async with two.post() as response:
        refused_id = response.headers["x-forebay-request-id"]
    async with two.get(f"/forebay/requests/{refused_id}", headers=bearer(key_of("a"))) as response:
        assert response.status == 404


async def status_becomes(gateway: RunningGateway, wanted: int, **headers: str) -> float:
    """Ask until the answer has this status; returns how long that took."""
    started = time.monotonic()
    async with asyncio.timeout(10):
        while True:
            async with gateway.post(**headers) as response:
                if response.status == wanted:
                    return time.monotonic() - started
            await asyncio.sleep(0.02)


async def test_a_running_gateway_follows_what_is_created_and_revoked(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with gateway.post() as response:
        assert response.status == 200
    key, key_id = store_key(tmp_path, "a")
    await status_becomes(gateway, 401)
    async with gateway.post(**bearer(key)) as response:
        assert response.status == 200
    assert SqliteKeys(tmp_path / "state.db").revoke(key_id, 1)
    await status_becomes(gateway, 401, **bearer(key))
    # The last key is gone: that closes the door, it does not open it.
    async with gateway.post() as response:
        assert response.status == 401


async def test_a_lost_database_does_not_open_the_gateway(config: str, tmp_path: Path) -> None:
    key, _ = store_key(tmp_path, "a")
    async with running_gateway(config, tmp_path) as gateway:
        (tmp_path / "state.db").unlink()
        await gateway.gateway.keyring.refresh()
        for headers in ({}, bearer(key)):
            await refused(gateway.post(**headers))


async def test_a_damaged_database_lets_nobody_in_until_it_is_whole(config: str, tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    async with running_gateway(config, tmp_path) as gateway:
        async with gateway.post() as response:
            assert response.status == 503
            assert (await response.json())["error"]["code"] == "state_unavailable"
        (tmp_path / "state.db").unlink()
        await gateway.gateway.keyring.refresh()
        async with gateway.post() as response:
            assert response.status == 200


async def test_a_configured_key_needs_no_store(config: str, tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    text = f"{config}\ntenants: {json.dumps([tenant('a')])}\n"
    async with running_gateway(text, tmp_path) as gateway, gateway.post(**bearer(key_of("a"))) as response:
        assert response.status == 200


async def test_only_hashes_are_kept(tmp_path: Path) -> None:
    key, _ = store_key(tmp_path, "a")
    with sqlite3.connect(tmp_path / "state.db") as db:
        dump = "".join(db.iterdump())
    db.close()
    assert key not in dump and key.rpartition("-")[2] not in dump
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0


async def test_the_sdk_tells_its_caller(two: RunningGateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{two.url}/v1", api_key="fb-wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    assert caught.value.code == "invalid_api_key"
    async with openai.AsyncOpenAI(base_url=f"{two.url}/v1", api_key=key_of("a")) as client:
        answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].message.content == "Hello!"
