from __future__ import annotations

from aiohttp import web

from tests.gateway.support.running import RunningGateway
from tests.gateway.support.upstream import ScriptedUpstream, json_reply

GPT = b'{"id":"gpt-x","created":7,"owned_by":"acme","object":"model","x":1}'
LIST = b'{"object":"list","data":[' + GPT + b',{"id":"m"}]}'


async def ids(gateway: RunningGateway) -> list[str]:
    async with gateway.get("/v1/models") as response:
        assert response.status == 200
        return [card["id"] for card in (await response.json())["data"]]


async def test_configured_names_come_first_and_hide_others(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.models = json_reply(LIST)
    assert await ids(gateway) == ["auto", "m", "same", "gpt-x"]
    assert upstream.received[0].headers["authorization"] == "Bearer sk-upstream-secret"


async def test_the_pass_throughs_list_is_not_asked_for_every_time(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    upstream.models = json_reply(LIST)
    for _ in range(3):
        await ids(gateway)
    assert len(upstream.received) == 1


async def test_a_broken_pass_through_leaves_the_configured_names(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    for reply in (json_reply(b"<html>"), json_reply(b"{}", 500)):
        upstream.models = reply
        assert await ids(gateway) == ["auto", "m", "same"]


async def test_a_slow_pass_through_is_not_waited_for(
    gateway: RunningGateway, upstream: ScriptedUpstream, monkeypatch
) -> None:
    monkeypatch.setattr("gateway.endpoints.models._QUICKLY_S", 0.05)

    async def never(request: web.Request, body: bytes) -> web.StreamResponse:
        await upstream.left.wait()
        return web.Response()

    upstream.models = never
    assert await ids(gateway) == ["auto", "m", "same"]


async def test_one_model(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    upstream.models = json_reply(LIST.replace(b"gpt-x", b"org/gpt-x"))
    async with gateway.get("/v1/models/auto") as response:
        card = await response.json()
    assert (card["id"], card["object"], card["owned_by"]) == ("auto", "model", "forebay")
    assert isinstance(card["created"], int)
    async with gateway.get("/v1/models/org/gpt-x") as response:
        assert (await response.json())["owned_by"] == "acme"


async def test_an_unknown_model_is_not_found(gateway: RunningGateway) -> None:
    async with gateway.get("/v1/models/nope") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "model_not_found"
