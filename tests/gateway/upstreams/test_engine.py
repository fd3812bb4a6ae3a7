from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backend_engine.launcher import EXIT_MODEL, EngineOptions
from gateway.app import build_upstreams
from gateway.config.load import load_config
from gateway.config.schema import Config, EngineUpstream, Tenant
from gateway.engines import engine_options
from gateway.upstreams.base import State, UpstreamRequest
from gateway.upstreams.engine import Engine, EngineStatus
from gateway.upstreams.engine_process import EngineReport, RestartPauses, SupervisedEngine
from tests.gateway.support.engine import FakeLauncher
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.upstream import ScriptedUpstream, completion

YAML = "upstreams: {engine: {kind: engine, model: tiny}}\nmodels: {m: {upstream: engine}}"
PAUSES = RestartPauses(first=0.01, last=0.02, stable=60)


@dataclass
class Stand:
    """A gateway over one engine that is no process."""

    gateway: RunningGateway
    engine: Engine
    process: SupervisedEngine
    launcher: FakeLauncher
    changes: asyncio.Queue[tuple[State, str]] = field(default_factory=asyncio.Queue)

    async def until(self, state: State) -> str:
        while True:
            seen, why = await self.changes.get()
            if seen is state:
                return why

    async def ready(self) -> tuple[int, str]:
        async with self.gateway.get("/health/ready") as response:
            return response.status, (await response.json())["upstreams"]["engine"]


@pytest.fixture
async def stand(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[Stand]:
    changes: asyncio.Queue[tuple[State, str]] = asyncio.Queue()
    launcher = FakeLauncher(upstream.url)
    options = EngineOptions(model="/models/tiny.gguf", model_name="tiny")
    status = EngineStatus()

    def on_report(report: EngineReport) -> None:
        status.update(report.state, report.url)
        changes.put_nowait((report.state, report.why))

    process = SupervisedEngine("engine", options, on_report, launch=launcher, pauses=PAUSES)  # type: ignore[arg-type]
    engine = Engine("engine", EngineUpstream(model="tiny"), status, patience_s=0.05)
    process.start()
    async with running_gateway(YAML, tmp_path, upstreams={"engine": engine}) as gateway:
        yield Stand(gateway, engine, process, launcher, changes)
    await process.close()


async def test_the_gateway_listens_while_the_engine_starts(stand: Stand) -> None:
    async with stand.gateway.get("/health") as response:
        assert response.status == 200
    assert await stand.ready() == (503, "starting")
    stand.launcher.may_start.set()
    await stand.until(State.READY)
    assert await stand.ready() == (200, "ready")


async def test_a_request_waits_a_little_for_the_engine(stand: Stand, upstream: ScriptedUpstream) -> None:
    stand.engine._patience_s = 60
    waiting = asyncio.create_task(stand.gateway.post().__aenter__())
    while b"in_flight 1.0" not in await (await stand.gateway.get("/metrics")).read():
        pass
    stand.launcher.may_start.set()
    response = await waiting
    assert await response.read() == completion()


async def test_and_is_told_to_come_back_if_that_takes_longer(stand: Stand) -> None:
    async with stand.gateway.post() as response:
        assert response.status == 503
        assert response.headers["retry-after"] == "5"
        assert (await response.json())["error"]["code"] == "upstream_not_ready"


async def test_requests_carry_the_tenants_salt_and_the_engines_model_name(
    stand: Stand, upstream: ScriptedUpstream
) -> None:
    stand.launcher.may_start.set()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with stand.gateway.post(traceparent=trace, authorization="Bearer x") as response:
        assert await response.read() == completion()
        # We do not trace, but the engine may: it sees the caller's own context.
        assert response.headers["x-forebay-trace-id"] == "0af7651916cd43dd8448eb211c80319c"
    received = upstream.received[0]
    assert received.body == b'{"model":"tiny","messages":[{"role":"user","content":"Hi"}]}'
    assert len(received.headers["x-forebay-salt"]) == 64
    assert received.headers["x-forebay-priority"] == "0"
    assert received.headers["traceparent"] == trace
    assert "authorization" not in received.headers


async def test_embeddings_are_refused_here_and_not_by_the_engine(
    stand: Stand, upstream: ScriptedUpstream
) -> None:
    stand.launcher.may_start.set()
    async with stand.gateway.post("/v1/embeddings", {"model": "m", "input": "x"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "unsupported_endpoint"
    assert upstream.received == []


async def test_an_engine_that_dies_is_started_again(stand: Stand) -> None:
    stand.launcher.may_start.set()
    await stand.until(State.READY)
    stand.launcher.may_start.clear()
    stand.launcher.processes[0].ended.set()
    assert "status -9" in await stand.until(State.FAILED)
    await stand.until(State.STARTING)
    assert await stand.ready() == (503, "starting")
    stand.launcher.may_start.set()
    await stand.until(State.READY)
    async with stand.gateway.post() as response:
        assert response.status == 200
    assert len(stand.launcher.launched) == 2


async def test_pauses_between_tries_grow_to_a_bound(stand: Stand) -> None:
    stand.launcher.broken = "bad model file"
    stand.launcher.may_start.set()
    whys = [await stand.until(State.FAILED) for _ in range(3)]
    assert [why.rpartition("; ")[2] for why in whys] == ["next try in 0.01 s", *["next try in 0.02 s"] * 2]
    assert whys[0].startswith("bad model file")


async def test_a_failed_engine_answers_at_once(stand: Stand) -> None:
    stand.engine._patience_s = 60
    stand.process._pauses = RestartPauses(first=60)
    stand.launcher.broken = "bad model file"
    stand.launcher.may_start.set()
    await stand.until(State.FAILED)
    async with stand.gateway.post() as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "upstream_not_ready"


async def test_a_model_that_cannot_be_loaded_is_not_tried_again(stand: Stand) -> None:
    stand.launcher.broken, stand.launcher.status = "no such tensor", EXIT_MODEL
    stand.launcher.may_start.set()
    assert "not tried again" in await stand.until(State.FAILED)
    assert stand.process._supervisor is not None
    await stand.process._supervisor
    assert len(stand.launcher.launched) == 1


async def test_closing_stops_the_process(upstream: ScriptedUpstream) -> None:
    launcher = FakeLauncher(upstream.url)
    launcher.may_start.set()
    reports: list[EngineReport] = []
    process = SupervisedEngine("e", EngineOptions(model="x"), reports.append, launch=launcher)  # type: ignore[arg-type]
    process.start()
    assert (await process.settled()).state is State.READY
    await process.close()
    assert launcher.processes[0].stopped
    assert [report.state for report in reports] == [State.STARTING, State.READY, State.STOPPED]


async def test_closing_while_it_starts_leaves_nothing_behind(upstream: ScriptedUpstream) -> None:
    launcher = FakeLauncher(upstream.url)
    process = SupervisedEngine("e", EngineOptions(model="x"), lambda report: None, launch=launcher)  # type: ignore[arg-type]
    process.start()
    await asyncio.sleep(0)
    await process.close()
    assert process.report.state is State.STOPPED and launcher.processes == []


def test_options_of_the_configuration_reach_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text(
        "upstreams: {e: {kind: engine, model: tiny, threads: 2, kv_memory_mb: 64, prefix_cache: false}}\n"
        "models: {m: {upstream: e}}\n"
        "telemetry: {otlp_endpoint: 'http://localhost:4318', sample: 0.5}"
    )
    config: Config = load_config(file, environ={})
    upstream = config.upstreams["e"]
    assert isinstance(upstream, EngineUpstream)
    options = engine_options(upstream, "/models/tiny.gguf", config)
    assert options == EngineOptions(
        model="/models/tiny.gguf",
        model_name="tiny",
        port=0,
        threads=2,
        kv_memory_mb=64,
        prefix_cache=False,
        otlp_endpoint="http://localhost:4318",
        trace_sample=0.5,
        log_level="warning",
    )


async def test_the_same_shape_of_request_for_every_model_of_the_engine(stand: Stand) -> None:
    """`tiny` is no name of the configuration, so clients cannot use it."""
    async with stand.gateway.post(body=chat("tiny")) as response:
        assert response.status == 404


async def test_the_place_in_the_queue_is_the_tenants_not_the_clients(
    upstream: ScriptedUpstream,
) -> None:
    status = EngineStatus()
    status.update(State.READY, upstream.url)
    config = Config(
        upstreams={"engine": EngineUpstream(model="tiny")},
        tenants=(Tenant("slow", priority=7), Tenant("other")),
    )
    engine = build_upstreams(config, {"engine": status})["engine"]
    await engine.start()
    try:
        body = b'{"model":"tiny","priority":-100}'
        for tenant in ("slow", "other", "stranger"):
            await engine.send(UpstreamRequest("/chat/completions", body, False, tenant, {}))
    finally:
        await engine.close()
    assert [received.headers["x-forebay-priority"] for received in upstream.received] == ["7", "0", "0"]
