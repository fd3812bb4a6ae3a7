from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import Model
from gateway.exchange import Route
from gateway.routing.capabilities import Can
from gateway.routing.needs import Able, Needs, able, lacks, needs_of
from gateway.wire.asked import Asked, Message

PICTURE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        (Asked(), Needs()),
        (Asked(tools=[], response_format={"type": "text"}), Needs()),
        (Asked(tools=[{"type": "function"}]), Needs(tools=True)),
        (Asked(messages=(Message("user", [PICTURE]),)), Needs(vision=True)),
        (Asked(response_format={"type": "json_schema"}), Needs(json=True)),
    ],
)
def test_what_a_request_needs_is_read_off_it(asked: Asked, needs: Needs) -> None:
    assert needs_of(asked) == needs


@pytest.mark.parametrize("need", ["tools", "vision", "json"])
def test_a_model_lacks_what_is_needed_and_it_cannot(need: str) -> None:
    cannot: dict[str, Any] = {need: False}
    assert lacks(Can(**cannot), Needs(**{need: True}))
    assert lacks(Can(**cannot), Needs()) is None
    assert lacks(Can(), Needs(True, True, True)) is None


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_one_tier_at_least_can_take_every_request(can: list[bool]) -> None:
    routes = [Route(f"m{at}", f"m{at}", Model("up"), "m") for at in range(len(can))]
    lacking = {route.label: None if ok else "is too small" for route, ok in zip(routes, can, strict=True)}
    found = able(routes, lambda route: lacking[route.label])
    assert found.tiers[:-1] == tuple(can[:-1])
    assert found.tiers[-1] is (can[-1] or not any(can)), "if none can, the last one says so itself"
    assert found.why == next((f"m{at} is too small" for at, ok in enumerate(can) if not ok), "")
    assert (found == Able((True,) * len(can), "")) is all(can)
