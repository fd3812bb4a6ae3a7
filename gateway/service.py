"""One gateway process from its configuration to its exit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import uvloop

from gateway.app import build_gateway, build_upstreams
from gateway.config.schema import Config, EngineUpstream
from gateway.models.pull import pull
from gateway.models.store import ModelStore
from gateway.screen import Screen
from gateway.server import listening, until_signalled
from telemetry.logs import configure_logs
from telemetry.setup import start_telemetry

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
    try:
        upstreams = build_upstreams(config, paths, on_state=screen.engine_changed)
        gateway = build_gateway(config, upstreams, telemetry)
        server = config.server
        async with listening(gateway, server.host, server.port, server.drain_s) as url:
            screen.listening(url)
            await until_signalled()
            screen.draining(server.drain_s)
    finally:
        await telemetry.close()
