from __future__ import annotations

from tests.gateway.support.running import RunningGateway


async def test_a_gateway_without_engines_is_ready_at_once(gateway: RunningGateway) -> None:
    async with gateway.get("/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with gateway.get("/health/ready") as response:
        assert (response.status, await response.json()) == (
            200,
            {"status": "ready", "upstreams": {"up": "ready"}},
        )


async def test_a_draining_gateway_is_alive_but_not_ready(gateway: RunningGateway) -> None:
    gateway.gateway.drain.draining = True
    async with gateway.get("/health") as response:
        assert response.status == 200
    async with gateway.get("/health/ready") as response:
        assert (response.status, (await response.json())["status"]) == (503, "draining")
