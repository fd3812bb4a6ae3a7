"""The fault proxy as a command, and its little language."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import pytest

from benchmarks.fault_proxy import Action, Fault, FaultProxy, Stage
from tests.gateway.support.upstream import completion, json_reply, scripted_upstream


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("pass", [Fault(Action.PASS)]),
        ("reset@mid-body", [Fault(Action.RESET, Stage.MID_BODY)]),
        ("status=429*3", [Fault(Action.STATUS, value=429)] * 3),
        ("delay=0.5@after-headers*2", [Fault(Action.DELAY, Stage.AFTER_HEADERS, 0.5)] * 2),
        ("half-close@after-done", [Fault(Action.HALF_CLOSE, Stage.AFTER_DONE)]),
    ],
)
def test_a_script_is_read(text: str, faults: list[Fault]) -> None:
    assert Fault.parse(text) == faults


@pytest.mark.parametrize("text", ["", "explode", "reset@never", "status=", "reset mid-body", "pass*-1"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Fault.parse(text)


async def test_a_request_without_a_fault_passes_unchanged() -> None:
    async with scripted_upstream() as upstream, FaultProxy(upstream.url) as proxy:
        upstream.reply = json_reply(completion(), 201, x_more="yes")
        async with aiohttp.ClientSession() as http:
            for _ in range(2):
                async with http.post(
                    f"{proxy.url}/v1/x?q=1", data=b"body", headers={"x-in": "1"}
                ) as response:
                    assert (response.status, await response.read()) == (201, completion())
                    assert response.headers["x-more"] == "yes"
    assert proxy.requests == 2
    assert upstream.received[1].body == b"body" and upstream.received[1].headers["x-in"] == "1"


async def test_refusing_stands_between_two_requests() -> None:
    script = [Fault(Action.PASS), Fault(Action.REFUSE, value=60)]
    async with (
        scripted_upstream() as upstream,
        aiohttp.ClientSession() as http,
        FaultProxy(upstream.url, script) as proxy,
    ):
        async with http.post(f"{proxy.url}/v1/x") as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.post(f"{proxy.url}/v1/x")


async def test_as_a_command_it_loops() -> None:
    async with scripted_upstream() as upstream, aiohttp.ClientSession() as http:
        arguments = ["--upstream", upstream.url, "--port", "0", "--loop", "status=503", "pass"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.fault_proxy", *arguments, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            url = (await process.stdout.readline()).split()[0].decode()
            seen = []
            for _ in range(4):
                async with http.post(f"{url}/v1/x") as response:
                    seen.append(response.status)
            assert seen == [503, 200, 503, 200]
        finally:
            process.terminate()
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]
