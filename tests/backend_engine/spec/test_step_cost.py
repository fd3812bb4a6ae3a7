"""The curve takes the shape of what was measured, and keeps it when the whole machine slows down."""

from __future__ import annotations

import random

import pytest

from backend_engine.spec.step_cost import StepCost


def staircase(tokens: int) -> float:
    return 0.008 if tokens <= 4 else 0.008 + 0.0012 * (tokens - 4)


def learnt(seed: int = 0, speed: float = 1.0, cost: StepCost | None = None, steps: int = 800) -> StepCost:
    """Return a curve that saw noisy steps of all sizes, one in twenty held up by something else."""
    cost, chance = cost or StepCost(), random.Random(seed)
    for _ in range(steps):
        tokens = chance.randrange(1, 33)
        noise = chance.choice([20.0] + [0.95, 1.0, 1.05] * 7)
        cost.observe(tokens, staircase(tokens) * speed * noise)
    return cost


@pytest.mark.parametrize("tokens", [1, 3, 4, 8, 11, 16, 20, 32])
def test_the_curve_is_learnt(tokens: int) -> None:
    assert learnt().seconds(tokens) / staircase(tokens) == pytest.approx(1, abs=0.3)
    assert learnt().seconds(tokens) / learnt().seconds(1) == pytest.approx(
        staircase(tokens) / staircase(1), rel=0.2
    )


def test_before_any_step_a_token_adds_a_little() -> None:
    cost = StepCost()
    assert cost.seconds(1) < cost.seconds(2) < 1.1 * cost.seconds(1)
    assert cost.seconds(128) == pytest.approx(2 * cost.seconds(64), rel=0.01), "computing is all that counts"
    cost.observe(1, 0.5)
    assert cost.seconds(1) == pytest.approx(0.5)
    assert cost.seconds(9) == pytest.approx(0.5 * 1.5, rel=0.1)


def test_a_slower_machine_moves_sizes_that_are_not_measured_too() -> None:
    cost = learnt()
    before = cost.seconds(32)
    for _ in range(300):
        cost.observe(1, 3 * staircase(1))
    assert cost.seconds(32) > 1.8 * before


def test_more_tokens_than_the_curve_knows_cost_as_much_as_its_end() -> None:
    cost = StepCost()
    assert cost.seconds(5000) == cost.seconds(256)
