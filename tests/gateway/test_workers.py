"""Several workers as one gateway: real processes in front of a scripted upstream."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.support.running import CHAT, chat
from tests.gateway.support.serving import Serve, serving
from tests.gateway.support.upstream import (
    DONE,
    EVENTS,
    ScriptedUpstream,
    begin_stream,
    completion,
    json_reply,
)

WORKERS = 3


class Gateway:
    """A gateway of several workers and a client that opens a connection for each request."""

    def __init__(self, serve: Serve, url: str, http: aiohttp.ClientSession, file: Path) -> None:
        self.serve = serve
        self.url = url
        self.http = http
        self.file = file
        self._numbers = itertools.count()

    def workers(self) -> dict[int, psutil.Process]:
        children = psutil.Process(self.serve.process.pid).children()
        found = {}
        for child in children:
            # One that is dead, but not buried yet, has no command line.
            with suppress(psutil.Error):
                if "gateway.worker" in child.cmdline():
                    found[child.pid] = child
        return found

    async def ask(self, **more: Any) -> aiohttp.ClientResponse:
        # No two alike: neither a cache nor a call in flight may answer for the upstream.
        messages = [{"role": "user", "content": f"Hi {next(self._numbers)}"}]
        response = await self.http.post(self.url + CHAT, json=chat(messages=messages, **more))
        await response.read()
        return response

    async def metric(self, name: str, **labels: str) -> float:
        async with self.http.get(self.url + "/metrics") as response:
            assert response.status == 200, await response.text()
            families = text_string_to_metric_families(await response.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def until_all_serve(self) -> None:
        while await self.metric("forebay_workers") < WORKERS:
            pass

    def kill(self) -> int:
        victim = next(iter(self.workers().values()))
        victim.kill()
        return victim.pid


def with_workers(config: str, **server: object) -> str:
    settings = ", ".join(
        f"{key}: {value}" for key, value in {"workers": WORKERS, "drain_s": 20, **server}.items()
    )
    return config + f"server: {{{settings}}}\n"


@asynccontextmanager
async def running(folder: Path, yaml: str) -> AsyncIterator[Gateway]:
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with (
        serving(folder, yaml, "--port", "0") as serve,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        url = await serve.url()
        yield Gateway(serve, url, http, folder / "forebay.yaml")


@pytest.fixture
async def gateway(tmp_path: Path, config: str) -> AsyncIterator[Gateway]:
    async with running(tmp_path, with_workers(config)) as gateway:
        yield gateway


def pids_that_answer(gateway: Gateway, upstream: ScriptedUpstream) -> set[int]:
    """Return the workers that have a connection to the upstream."""
    port = int(upstream.url.rpartition(":")[2])
    return {
        pid
        for pid, worker in gateway.workers().items()
        if any(
            connection.raddr and connection.raddr.port == port for connection in worker.net_connections("tcp")
        )
    }


class Held:
    """An upstream that begins streams and ends them when it is told to."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.go_on = asyncio.Event()
        self.began = 0
        upstream.reply = self.reply

    async def reply(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(EVENTS[0])
        self.began += 1
        await self.go_on.wait()
        await response.write(EVENTS[-1] + DONE)
        return response


class Load:
    """Requests one after the other on several connections, until it is stopped."""

    def __init__(self, gateway: Gateway, width: int = 6) -> None:
        self._gateway = gateway
        self._stop = False
        self.outcomes: Counter[str] = Counter()
        self._tasks = [asyncio.create_task(self._run()) for _ in range(width)]

    async def _run(self) -> None:
        while not self._stop:
            try:
                response = await self._gateway.ask()
                self.outcomes[str(response.status)] += 1
            except aiohttp.ClientError as error:
                self.outcomes[type(error).__name__] += 1

    async def more(self, count: int) -> None:
        """Wait for so many more requests."""
        wanted = self.outcomes.total() + count
        while self.outcomes.total() < wanted:
            await asyncio.sleep(0.01)

    async def end(self) -> Counter[str]:
        self._stop = True
        await asyncio.gather(*self._tasks)
        return self.outcomes


async def test_the_workers_share_one_port_and_add_up(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    assert len(gateway.workers()) == WORKERS
    # Sixty connections over three sockets: that one of them gets none is as likely as 1 in 10^10.
    ids = [(await gateway.ask()).headers["x-forebay-request-id"] for _ in range(60)]
    assert pids_that_answer(gateway, upstream) == gateway.workers().keys()
    for _ in range(2 * WORKERS):
        # Whichever worker is asked.
        assert await gateway.metric("forebay_requests_total", status="200") == 60
        assert await gateway.metric("forebay_request_duration_seconds_count") == 60
        assert await gateway.metric("forebay_tokens_total", kind="input") == 600
        assert await gateway.metric("forebay_requests_in_flight") == 0
    for request_id in ids:
        async with gateway.http.get(f"{gateway.url}/forebay/requests/{request_id}") as response:
            assert (response.status, (await response.json())["id"]) == (200, request_id)
    async with gateway.http.get(f"{gateway.url}/forebay/requests/req_unknown") as response:
        assert response.status == 404


async def test_a_killed_worker_fails_its_own_requests_only(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    for _ in range(40):
        await gateway.ask()
    counted = await gateway.metric("forebay_requests_total")
    held = Held(upstream)
    streams = [asyncio.create_task(gateway.ask(stream=True)) for _ in range(30)]
    while held.began < 30:
        await asyncio.sleep(0.01)
    upstream.reply = json_reply(completion())
    load = Load(gateway)
    await load.more(30)
    port = int(upstream.url.rpartition(":")[2])
    victim = next(iter(gateway.workers().values()))
    client_port = int(gateway.url.rpartition(":")[2])
    connections = [c for c in victim.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED]
    assert any(c.raddr.port == port for c in connections)
    own = sum(1 for c in connections if c.laddr.port == client_port)
    victim.kill()
    await load.more(100)
    # Counts of the dead worker stay in the sum.
    assert await gateway.metric("forebay_requests_total") >= counted
    await gateway.until_all_serve()
    assert await gateway.metric("forebay_worker_restarts_total") == 1
    await load.more(60)
    outcomes = await load.end()
    failed = outcomes.total() - outcomes["200"]
    assert outcomes["ClientConnectorError"] == 0
    assert failed <= 6, outcomes
    held.go_on.set()
    results = await asyncio.gather(*streams, return_exceptions=True)
    lost = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(error, aiohttp.ClientError) for error in lost)
    assert 0 < len(lost) <= own and len(lost) < 30
    pids = gateway.workers()
    assert len(pids) == WORKERS and victim.pid not in pids
    await gateway.serve.until("worker_ended")


async def test_counts_of_a_dead_worker_stay(gateway: Gateway) -> None:
    for _ in range(60):
        await gateway.ask()
    assert await gateway.metric("forebay_requests_total") == 60
    gateway.kill()
    await gateway.serve.until("worker_ended")
    assert await gateway.metric("forebay_requests_total") == 60
    await gateway.until_all_serve()
    await gateway.ask()
    assert await gateway.metric("forebay_requests_total") == 61


async def test_a_new_file_is_taken_over_without_losing_a_request(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    load = Load(gateway)
    await load.more(30)
    old = gateway.file.read_text()
    for number in range(1, 6):
        gateway.file.write_text(old.replace("  same:", f"  new-{number}: {{upstream: up}}\n  same:"))
        gateway.serve.process.send_signal(signal.SIGHUP)
        await gateway.serve.until("Took over", times=number)
        for _ in range(2 * WORKERS):
            async with gateway.http.get(gateway.url + "/v1/models") as response:
                names = {model["id"] for model in (await response.json())["data"]}
            # Every worker has it, and none has the one before.
            assert {name for name in names if name.startswith("new-")} == {f"new-{number}"}
        await load.more(20)
    outcomes = await load.end()
    assert outcomes.keys() == {"200"}
    assert await gateway.metric("forebay_config_reloads_total", result="taken") == 5
    assert await gateway.metric("forebay_requests_total", status="200") == outcomes["200"]


async def test_a_bad_file_changes_nothing_and_is_explained(gateway: Gateway) -> None:
    load = Load(gateway)
    old = gateway.file.read_text()
    line = old.count("\n") + 1
    bad = {
        old + "modles: {}\n": f"forebay.yaml:{line}:1: unknown key 'modles', did you mean 'models'?",
        old.replace("workers: 3", "workers: 2"): "server.workers cannot change while the gateway runs",
    }
    for number, (text, why) in enumerate(bad.items(), 1):
        gateway.file.write_text(text)
        gateway.serve.process.send_signal(signal.SIGHUP)
        await gateway.serve.until(why)
        await load.more(20)
        while await gateway.metric("forebay_config_reloads_total", result="rejected") < number:
            pass
    assert (await load.end()).keys() == {"200"}
    assert "Took over" not in gateway.serve.printed


async def test_a_file_that_changes_is_read_without_a_signal(gateway: Gateway) -> None:
    text = gateway.file.read_text()
    fresh = gateway.file.with_name("next.yaml")
    fresh.write_text(text.replace("  same:", "  other: {upstream: up}\n  same:"))
    fresh.rename(gateway.file)
    await gateway.serve.until("Took over forebay.yaml")


async def test_a_stream_ends_under_the_configuration_that_it_began_under(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    held = Held(upstream)
    streams = [asyncio.create_task(gateway.ask(stream=True)) for _ in range(12)]
    while held.began < 12:
        await asyncio.sleep(0.01)
    text = gateway.file.read_text()
    gateway.file.write_text(text.replace("models:", "models:\n  other: {upstream: up}"))
    gateway.serve.process.send_signal(signal.SIGHUP)
    await gateway.serve.until("Took over")
    held.go_on.set()
    for stream in streams:
        response = await stream
        assert (await response.read()).endswith(DONE)


async def test_sigterm_lets_streams_of_all_workers_finish(
    tmp_path: Path, config: str, upstream: ScriptedUpstream
) -> None:
    held = Held(upstream)
    async with running(tmp_path, with_workers(config, drain_delay_s=1)) as gateway:
        streams = [asyncio.create_task(gateway.ask(stream=True)) for _ in range(30)]
        while held.began < 30:
            await asyncio.sleep(0.01)
        assert len(pids_that_answer(gateway, upstream)) > 1
        workers = list(gateway.workers().values())
        gateway.serve.process.send_signal(signal.SIGTERM)
        await gateway.serve.until("Finishing running requests")
        # First the balancer is told, on a port that is still open; then the port closes.
        states = []
        with pytest.raises(aiohttp.ClientError):
            while True:
                async with gateway.http.get(gateway.url + "/health/ready") as response:
                    states.append(response.status)
        assert 503 in states and 200 not in states[states.index(503) :]
        held.go_on.set()
        for stream in streams:
            assert (await (await stream).read()).endswith(DONE)
        assert await gateway.serve.end() == 0
        assert not any(worker.is_running() for worker in workers)
        assert "Traceback" not in gateway.serve.printed


async def test_a_second_signal_ends_all_workers_at_once(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    held = Held(upstream)
    stream = asyncio.create_task(gateway.ask(stream=True))
    while not held.began:
        await asyncio.sleep(0.01)
    workers = list(gateway.workers().values())
    gateway.serve.process.send_signal(signal.SIGTERM)
    await gateway.serve.until("Finishing running requests")
    gateway.serve.process.send_signal(signal.SIGTERM)
    assert await gateway.serve.end() == 128 + signal.SIGTERM
    with pytest.raises(aiohttp.ClientError):
        await stream
    await asyncio.to_thread(psutil.wait_procs, workers, 20)
    assert not any(worker.is_running() for worker in workers)


async def test_no_worker_outlives_a_parent_that_was_killed(
    gateway: Gateway, upstream: ScriptedUpstream
) -> None:
    held = Held(upstream)
    streams = [asyncio.create_task(gateway.ask(stream=True)) for _ in range(6)]
    while held.began < 6:
        await asyncio.sleep(0.01)
    workers = list(gateway.workers().values())
    os.kill(gateway.serve.process.pid, signal.SIGKILL)
    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 20)
    assert alive == []
    assert all(
        isinstance(r, aiohttp.ClientError) for r in await asyncio.gather(*streams, return_exceptions=True)
    )


async def test_a_worker_that_cannot_start_ends_the_gateway_with_a_reason(tmp_path: Path, config: str) -> None:
    # The interpreter runs this first in every process: workers fail before any code of ours can say why.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'gateway.worker' in sys.orig_argv: os._exit(7)\n"
    )
    async with serving(tmp_path, with_workers(config), "--port", "0", python_path=tmp_path) as serve:
        assert await serve.end() == 1
    assert (
        "forebay: workers ended 5 times before they could serve, the last one with status 7" in serve.printed
    )
    assert "Traceback" not in serve.printed


async def test_a_second_gateway_on_the_port_is_refused(gateway: Gateway, tmp_path: Path, config: str) -> None:
    port = gateway.url.rpartition(":")[2]
    other = tmp_path / "other"
    other.mkdir()
    async with serving(other, with_workers(config), "--port", port) as serve:
        assert await serve.end() == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in serve.printed
