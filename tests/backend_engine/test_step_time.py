"""The model of a step's time finds the costs behind measurements, and answers in tokens."""

from __future__ import annotations

import random

import pytest

from backend_engine.step_time import Load, StepTime


def cost(load: Load) -> float:
    """A machine: seconds of a step."""
    per = (5e-3, 3e-4, 6e-4, 2e-6, 1e-7)
    amounts = (load.steps, load.sequences, load.tokens, load.context, load.scores)
    return sum(c * x for c, x in zip(per, amounts, strict=True))


def measured(noise: float, *, outliers: bool = False) -> StepTime:
    chance = random.Random(4)
    model = StepTime()
    for _ in range(200):
        load = Load.of([(chance.randrange(1000), 1)] * chance.randrange(1, 9))
        if chance.random() < 0.5:
            load = load.plus(chance.randrange(4000), chance.randrange(16, 256))
        seconds = cost(load) * chance.uniform(1 - noise, 1 + noise)
        if outliers and chance.random() < 0.05:
            seconds *= 20
        model.observe(load, seconds)
    return model


@pytest.mark.parametrize(
    ("noise", "outliers", "tolerance"), [(0.0, False, 0.03), (0.2, False, 0.12), (0.1, True, 0.25)]
)
def test_costs_are_found_under_noise_and_outliers(noise: float, outliers: bool, tolerance: float) -> None:
    model = measured(noise, outliers=outliers)
    for load in (
        Load.of([(500, 1)] * 4),
        Load.of([(500, 1)] * 4).plus(0, 128),
        Load.of([(500, 1)] * 4).plus(3500, 64),
    ):
        assert model.seconds(load) == pytest.approx(cost(load), rel=tolerance)


def test_tokens_within_a_time_are_as_many_as_fit() -> None:
    model = measured(0.0)
    load = Load.of([(500, 1)] * 4)
    for computed in (0, 3000):
        tokens = model.tokens_within(0.06, load, computed, 500)
        assert cost(load.plus(computed, tokens)) == pytest.approx(0.06, rel=0.05)
    assert model.tokens_within(100.0, load, 0, 500) == 500
    assert model.tokens_within(1e-4, load, 0, 500) == 0


def test_long_decoding_does_not_wash_out_what_prompts_cost() -> None:
    model = measured(0.0)
    for _ in range(1000):
        load = Load.of([(800, 1)] * 3)
        model.observe(load, cost(load))
    prompt = Load.of([(800, 1)] * 3).plus(0, 200)
    assert model.seconds(prompt) == pytest.approx(cost(prompt), rel=0.05)


def test_nothing_is_claimed_before_both_sorts_of_steps_were_seen() -> None:
    model = StepTime()
    for _ in range(5):
        model.observe(Load.of([(10, 1)]), 0.01)
    assert not model.fitted
    for _ in range(2):
        model.observe(Load.of([(0, 30)]), 0.1)
    assert model.fitted


def test_where_the_model_is_wrong_the_latest_steps_correct_it_and_a_held_up_one_does_not() -> None:
    model = measured(0.0)
    decodes = Load.of([(500, 1)] * 4)
    for computed in range(3000, 3500, 64):
        # Attention over a long context turns out twice as dear as anything before.
        load = decodes.plus(computed, 64)
        model.observe(load, 2 * cost(load))
    coming = decodes.plus(3600, 64)
    assert model.seconds(coming) == pytest.approx(2 * cost(coming), rel=0.1)
    assert model.seconds(decodes) == pytest.approx(cost(decodes), rel=0.3)
    model.observe(coming, 50 * cost(coming))
    assert model.seconds(coming) == pytest.approx(2 * cost(coming), rel=0.15)
