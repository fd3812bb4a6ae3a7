"""A gateway in front of an upstream that speaks OpenAI's own wire format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients.support.openai_wire import speak_openai
from tests.gateway.support.running import RunningGateway, running_gateway
from tests.gateway.support.upstream import ScriptedUpstream, scripted_upstream

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{base_url}", api_key: "sk-upstream-secret"}}
models:
  gpt-4o-mini: {{upstream: up, price: {{input: 0.15, output: 0.6}}}}
  "*": {{upstream: up}}
"""


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        speak_openai(server)
        yield server


@pytest.fixture
async def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(CONFIG.format(base_url=upstream.base_url), tmp_path) as running:
        yield running
