"""The next tier is run exactly if it is worth more than it costs."""

from __future__ import annotations

from itertools import combinations
from math import exp, pi, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.policy.cascade import Estimate, expected_best, next_step

SMALL = Estimate(0.6, 0.0, 0.001)
LARGE = Estimate(0.9, 0.0, 0.010)


def test_the_small_tier_is_enough_where_quality_is_worth_little() -> None:
    assert next_step({"small": SMALL, "large": LARGE}, (), 0.02).run == "small"


def test_a_request_goes_straight_to_the_large_tier_where_the_small_one_is_sure_to_be_escalated() -> None:
    assert next_step({"small": SMALL, "large": LARGE}, (), 1.0).run == "large"


def test_the_small_tier_is_tried_first_where_it_may_well_be_enough() -> None:
    uncertain = {"small": Estimate(0.6, 0.4, 0.0001), "large": Estimate(0.65, 0.1, 0.010)}

    step = next_step(uncertain, (), 0.2)

    assert step.run == "small"
    assert "large" in step.reason


@pytest.mark.parametrize(("judged", "run"), [(0.85, None), (0.3, "large")])
def test_after_an_answer_what_it_was_judged_decides(judged: float, run: str | None) -> None:
    estimates = {"small": Estimate(judged, 0.0, 0.001), "large": LARGE}

    assert next_step(estimates, ("small",), 0.1).run == run


def test_something_is_run_even_if_nothing_is_worth_its_cost() -> None:
    assert next_step({"only": LARGE}, (), 0.0).run == "only"


def test_two_tiers_escalate_exactly_where_the_gain_exceeds_the_price() -> None:
    for gain in (0.0499, 0.0501):
        estimates = {"small": Estimate(0.5, 0.0, 0.0), "large": Estimate(0.5 + gain, 0.0, 0.005)}
        assert (next_step(estimates, ("small",), 0.1).run == "large") is (gain > 0.05)


@given(
    st.lists(st.builds(Estimate, st.floats(0, 1), st.just(0.0), st.floats(0, 1)), min_size=1, max_size=4),
    st.floats(0, 3),
)
def test_following_the_rule_reaches_the_best_set_when_nothing_is_uncertain(
    tiers: list[Estimate], worth: float
) -> None:
    estimates = {str(number): tier for number, tier in enumerate(tiers)}
    ran: list[str] = []
    while (step := next_step(estimates, ran, worth)).run is not None:
        ran.append(step.run)

    def value(names: tuple[str, ...] | list[str]) -> float:
        chosen = [estimates[name] for name in names]
        return worth * max(tier.quality for tier in chosen) - sum(tier.cost_usd for tier in chosen)

    best = max(value(names) for size in range(1, len(tiers) + 1) for names in combinations(estimates, size))
    assert value(ran) == pytest.approx(best)


def test_the_best_of_two_equal_uncertain_tiers_is_better_than_either() -> None:
    two = [Estimate(0.5, 0.1, 0), Estimate(0.5, 0.1, 0)]

    assert expected_best(two) == pytest.approx(0.5 + 0.1 * sqrt(2) * exp(0) / sqrt(2 * pi))
    assert expected_best([*two, Estimate(0.5, 0.1, 0)]) == pytest.approx(0.5 + 0.1 * 0.8463, abs=0.002)


def test_a_cascade_has_at_most_eight_tiers() -> None:
    with pytest.raises(ValueError, match="1 to 8"):
        next_step({str(n): SMALL for n in range(9)}, (), 1.0)
    with pytest.raises(ValueError, match="1 to 8"):
        next_step({}, (), 1.0)


@pytest.mark.parametrize(("small_usd", "first"), [(0.0029, "small"), (0.0031, "large")])
def test_a_small_tier_is_tried_if_it_ends_often_enough_for_its_price(small_usd: float, first: str) -> None:
    """P(escalation) 0.7 < 1 - small / large."""
    estimates = {
        "small": Estimate(0.3, 0.0, small_usd, ends=0.3),
        "large": Estimate(1.0, 0.0, 0.010),
    }

    assert next_step(estimates, (), 1.0).run == first
