"""A gateway whose cache is on, before a scripted upstream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.policy.learned import Learned, save
from tests.gateway.support.cached import CONFIG
from tests.gateway.support.running import RunningGateway, running_gateway
from tests.gateway.support.two_models import BY_ANSWER, TWO_MODELS, Start, Two
from tests.gateway.support.upstream import ScriptedUpstream, scripted_upstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as upstream:
        yield upstream


@pytest.fixture
async def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(CONFIG.format(url=upstream.base_url), tmp_path, cached=True) as gateway:
        yield gateway


@pytest.fixture
async def two(upstream: ScriptedUpstream, other_upstream: ScriptedUpstream) -> Two:
    return Two(upstream, other_upstream)


@pytest.fixture
async def other_upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        yield server


@pytest.fixture
def start(two: Two, tmp_path: Path) -> Start:
    """Runs a gateway with a policy, by default one that goes by the answer."""

    @contextlib.asynccontextmanager
    async def run(
        policy: Learned = BY_ANSWER,
        near: str | None = None,
        small: str = "",
        large: str = "",
        route: str = "",
        **how: Any,
    ) -> AsyncIterator[RunningGateway]:
        save(policy, tmp_path / "policy.json")
        text = TWO_MODELS.format(
            near=near or two.small.base_url,
            far=two.large.base_url,
            policy=tmp_path / "policy.json",
            small=small,
            large=large,
            route=route,
        )
        async with running_gateway(text, tmp_path, **how) as gateway:
            yield gateway

    return run
