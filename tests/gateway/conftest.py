"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.support.running import RunningGateway, running_gateway
from tests.gateway.support.upstream import ScriptedUpstream, scripted_upstream

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{base_url}", api_key: "sk-upstream-secret",
       timeouts: {{connect: 1, first_byte: 20, idle: 20}}}}
models:
  m: {{upstream: up, model: real-m, price: {{input: 1, output: 2, cache_read: 0.5}}}}
  same: {{upstream: up}}
  "*": {{upstream: up}}
routes:
  auto: {{tiers: [m]}}
"""


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """An upstream that answers by script."""
    async with scripted_upstream() as server:
        yield server


@pytest.fixture
def config(upstream: ScriptedUpstream) -> str:
    """A configuration with the scripted upstream behind `m`, `same`, `auto` and all other names."""
    return CONFIG.format(base_url=upstream.base_url)


@pytest.fixture
async def gateway(config: str, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway in front of the scripted upstream."""
    async with running_gateway(config, tmp_path) as running:
        yield running


@pytest.fixture
async def traced(config: str, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """The same, recording spans."""
    async with running_gateway(config, tmp_path, traced=True) as running:
        yield running
