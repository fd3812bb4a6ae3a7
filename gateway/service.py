"""One gateway process from its configuration to its exit."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path

import uvloop

from gateway.app import build_gateway, build_upstreams, engine_options
from gateway.config.schema import Config, EngineUpstream
from gateway.models.pull import pull
from gateway.models.store import ModelStore
from gateway.screen import Screen
from gateway.server import listening
from gateway.upstreams.engine import EngineStatus
from gateway.upstreams.engine_process import EngineReport, SupervisedEngine
from telemetry.logs import configure_logs
from telemetry.setup import start_telemetry

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SERVICE_NAME = "forebay-gateway"


def run(config: Config, file: Path | None) -> None:
    """Serve until a signal comes. Raises GatewayError if that cannot begin."""
    configure_logs(config.telemetry.log_level)
    paths = local_models(config, ModelStore())
    uvloop.run(_serve(config, paths, Screen(config, file)))


def local_models(config: Config, store: ModelStore) -> dict[str, str]:
    """Return the path of every engine's model, downloading what is not here. Raises ModelStoreError."""
    engines = [upstream for upstream in config.upstreams.values() if isinstance(upstream, EngineUpstream)]
    return {engine.model: str(pull(engine.model, store, quiet_if_present=True)) for engine in engines}


async def _serve(config: Config, paths: Mapping[str, str], screen: Screen) -> None:
    telemetry = start_telemetry(SERVICE_NAME, config.telemetry.otlp_endpoint, config.telemetry.sample)
    engines: list[SupervisedEngine] = []
    statuses: dict[str, EngineStatus] = {}

    def on_report(report: EngineReport) -> None:
        statuses[report.name].update(report.state, report.url)
        screen.engine_changed(report.name, report.state, report.why)

    try:
        for name, upstream in config.upstreams.items():
            if isinstance(upstream, EngineUpstream):
                options = engine_options(upstream, paths[upstream.model], config)
                statuses[name] = EngineStatus()
                engines.append(SupervisedEngine(name, options, on_report))
                engines[-1].start()
        gateway = build_gateway(config, build_upstreams(config, statuses), telemetry)
        server = config.server
        async with listening(gateway, server.host, server.port, server.drain_s) as url:
            screen.listening(url)
            await until_signalled()
            screen.draining(server.drain_s)
    finally:
        for engine in engines:
            await engine.close()
        await telemetry.close()


async def until_signalled() -> None:
    """Wait for SIGTERM or Ctrl-C. The next one ends the process at once, as it would have without us."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in _SIGNALS:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)
