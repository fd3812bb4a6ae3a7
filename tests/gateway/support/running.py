"""A whole gateway on a free port, inside the test's event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from gateway.app import Gateway, build_gateway, build_upstreams
from gateway.config.load import load_config
from gateway.server import listening
from gateway.upstreams.base import Upstream
from telemetry.setup import Telemetry
from telemetry.spans import NullTracer, RecordedSpan, Tracer

CHAT = "/v1/chat/completions"


@dataclass
class RunningGateway:
    """The gateway under test and a client for it."""

    url: str
    gateway: Gateway
    http: aiohttp.ClientSession
    spans: list[RecordedSpan] = field(default_factory=list)

    def post(self, path: str = CHAT, body: bytes | dict[str, Any] | None = None, **headers: str) -> Any:
        """POST a body; a dict is encoded, underscores in header names stand for hyphens."""
        data = body if isinstance(body, bytes) else orjson.dumps(body if body is not None else chat())
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(
            self.url + path, data=data, headers={"content-type": "application/json", **named}
        )

    def get(self, path: str, **options: Any) -> Any:
        """GET a path."""
        return self.http.get(self.url + path, **options)

    async def settled(self, request_id: str) -> dict[str, Any]:
        """The record of a settled request."""
        async with self.get(f"/forebay/requests/{request_id}") as response:
            assert response.status == 200, await response.text()
            return await response.json()


def chat(model: str = "m", **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}


@asynccontextmanager
async def running_gateway(
    yaml: str,
    folder: Path,
    *,
    environ: Mapping[str, str] | None = None,
    upstreams: dict[str, Upstream] | None = None,
    traced: bool = False,
    cached: bool = False,
    drain_s: float = 0.2,
    semantic: str | None = None,
) -> AsyncIterator[RunningGateway]:
    """Run a gateway with this configuration; `upstreams` replace those of the configuration.

    `semantic` is the socket of a semantic process.
    """
    file = folder / "forebay.yaml"
    # What one test has asked must not answer another: the cache is on only where it is the point.
    file.write_text(yaml if cached else f"{yaml}\ncache: null\n")
    # Nothing that lies in the working directory may decide what a test sees.
    state = {"FOREBAY__STATE__STORE": f"sqlite://{folder}/state.db"}
    if cached and "cache:" not in yaml:
        state["FOREBAY__CACHE__STORE"] = f"sqlite://{folder}/cache.db"
    config = load_config(file, environ={**state, **(environ or {})})
    spans: list[RecordedSpan] = []
    tracer = Tracer(spans.append) if traced else NullTracer()
    gateway = build_gateway(
        config,
        upstreams or build_upstreams(config, {}),
        Telemetry(tracer, None, None),
        semantic=semantic,
    )
    async with (
        listening(gateway, "127.0.0.1", 0, drain_s) as url,
        aiohttp.ClientSession(auto_decompress=False) as http,
    ):
        yield RunningGateway(url, gateway, http, spans)
