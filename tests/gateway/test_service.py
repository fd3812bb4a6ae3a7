"""`forebay serve` as a process: uvloop, signals, what it prints."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.support.running import CHAT, chat
from tests.gateway.support.serving import serving
from tests.gateway.support.upstream import DONE, EVENTS, ScriptedUpstream, begin_stream


@pytest.fixture
def yaml(config: str) -> str:
    return config + "server: {drain_s: 5}\n"


async def test_it_prints_how_to_use_it_and_leaves_on_sigterm(
    tmp_path: Path, yaml: str, upstream: ScriptedUpstream
) -> None:
    async with serving(tmp_path, yaml, "--port", "0") as serve:
        await serve.until("answer.choices[0].message.content")
        assert "Ready after" in serve.printed and "with forebay.yaml" in serve.printed
        assert '"model": "auto"' in serve.printed and 'OpenAI(base_url="http://127.0.0.1:' in serve.printed
        url = serve.printed.split("listens on ")[1].split()[0]
        async with aiohttp.request("POST", url + CHAT, json=chat("auto")) as response:
            assert response.status == 200
        serve.process.send_signal(signal.SIGTERM)
        assert await serve.end() == 0
    assert "Traceback" not in serve.printed


async def test_a_running_request_is_finished_first(
    tmp_path: Path, yaml: str, upstream: ScriptedUpstream
) -> None:
    go_on = asyncio.Event()

    async def slow(request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        await go_on.wait()
        await response.write(EVENTS[-1] + DONE)
        return response

    upstream.reply = slow
    async with serving(tmp_path, yaml, "--port", "0") as serve, aiohttp.ClientSession() as http:
        await serve.until("Ready")
        url = serve.printed.split("listens on ")[1].split()[0]
        async with http.post(url + CHAT, json=chat(stream=True)) as response:
            assert await response.content.readuntil(b"\n\n") == EVENTS[0]
            serve.process.send_signal(signal.SIGTERM)
            await serve.until("Finishing running requests")
            # No new connection is taken from here on.
            with pytest.raises(aiohttp.ClientConnectorError):
                while True:
                    async with aiohttp.request("GET", url + "/health"):
                        pass
            go_on.set()
            assert await response.content.read() == EVENTS[-1] + DONE
        assert await serve.end() == 0


async def test_a_second_signal_ends_it_at_once(tmp_path: Path, yaml: str, upstream: ScriptedUpstream) -> None:
    async def stall(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    upstream.reply = stall
    yaml = yaml.replace("drain_s: 5", "drain_s: 3600")
    async with serving(tmp_path, yaml, "--port", "0") as serve, aiohttp.ClientSession() as http:
        await serve.until("Ready")
        url = serve.printed.split("listens on ")[1].split()[0]
        request = asyncio.create_task(http.post(url + CHAT, json=chat()).__aenter__())
        await upstream.arrived.wait()
        serve.process.send_signal(signal.SIGINT)
        await serve.until("Finishing running requests")
        serve.process.send_signal(signal.SIGINT)
        assert await serve.end() != 0
        with pytest.raises(aiohttp.ClientError):
            await request
    assert "Traceback" not in serve.printed


async def test_a_port_in_use_is_one_line(tmp_path: Path, yaml: str, upstream: ScriptedUpstream) -> None:
    port = upstream.url.rpartition(":")[2]
    async with serving(tmp_path, yaml, "--port", port) as serve:
        assert await serve.end() == 2
    assert f"forebay: cannot listen on 127.0.0.1:{port}: " in serve.printed
    assert "Traceback" not in serve.printed
