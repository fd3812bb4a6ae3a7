"""A gateway whose cache is on, before a scripted upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.support.cached import CONFIG
from tests.gateway.support.running import RunningGateway, running_gateway
from tests.gateway.support.upstream import ScriptedUpstream, scripted_upstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as upstream:
        yield upstream


@pytest.fixture
async def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(CONFIG.format(url=upstream.base_url), tmp_path, cached=True) as gateway:
        yield gateway
