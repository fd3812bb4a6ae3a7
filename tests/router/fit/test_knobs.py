"""A knob is turned only as far as the outcomes vouch for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.fit.knobs import for_budget, for_quality, of_share, probabilities
from router.policy.escalation import ALL_LARGE


def sample(seed: int, count: int = 800) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    difficulty = rng.random(count)
    return difficulty, rng.random(count) > difficulty, rng.random(count) > 0.1


def realised(escalation: object, scores: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> float:
    p = probabilities(escalation, scores)  # type: ignore[arg-type]
    return float((p * strong + (1 - p) * weak).mean() / strong.mean())


def test_the_quality_that_was_asked_for_is_kept_on_new_requests() -> None:
    kept = []
    for seed in range(60):
        escalation = for_quality(*sample(seed), 0.9)
        kept.append(realised(escalation, *sample(seed + 1000)) >= 0.89)

    assert sum(kept) >= 54


def test_it_is_not_bought_by_escalating_everything() -> None:
    scores, weak, strong = sample(3)
    escalation = for_quality(scores, weak, strong, 0.9)
    needed = min(
        share
        for share in np.arange(0, 1, 0.01)
        if realised(of_share(scores, share), scores, weak, strong) >= 0.9
    )

    assert probabilities(escalation, scores).mean() <= 1.25 * needed


def test_a_score_that_tells_nothing_becomes_a_coin() -> None:
    _, weak, strong = sample(3)

    escalation = for_quality(np.zeros(800), weak, strong, 0.9)

    assert escalation.threshold == 0
    assert 0.5 < escalation.share < 1


def test_scores_that_are_not_trusted_save_no_more_calls_than_a_coin() -> None:
    scores, weak, strong = sample(3)

    calls = [
        probabilities(for_quality(scores, weak, strong, 0.9, trust=trust), scores).mean()
        for trust in (1.0, 0.5, 0.0)
    ]

    assert calls[0] < calls[1] < calls[2]
    coin = for_quality(np.zeros(800), weak, strong, 0.9)
    assert calls[2] == pytest.approx(coin.share, abs=0.05)


def test_with_few_outcomes_everything_goes_to_the_large_tier() -> None:
    assert for_quality(*sample(3, 99), 0.5) == ALL_LARGE
    assert for_quality(*sample(3, 100), 0.5) != ALL_LARGE


def test_that_nothing_went_wrong_so_far_is_no_proof_that_nothing_will() -> None:
    scores, right = np.arange(100.0), np.ones(100, dtype=bool)

    assert probabilities(for_quality(scores, right, right, 1.0, slack=0.0), scores).mean() == 1
    assert probabilities(for_quality(scores, right, right, 0.95), scores).mean() == 0


def test_a_budget_takes_the_most_that_fits() -> None:
    scores = np.arange(100.0)
    small, large = np.full(100, 1.0), np.full(100, 10.0)

    alone = for_budget(scores, small, large, 5.5, cascade=False)
    cascade = for_budget(scores, small, large, 5.5, cascade=True)

    assert alone is not None and probabilities(alone, scores).sum() == pytest.approx(50)
    assert cascade is not None and probabilities(cascade, scores).sum() == pytest.approx(44)


def test_a_budget_below_the_small_tiers_cost_cannot_be_kept() -> None:
    assert for_budget(np.arange(10.0), np.ones(10), np.ones(10), 0.5, cascade=False) is None


@given(st.lists(st.integers(0, 4), min_size=1, max_size=50), st.floats(0, 1))
def test_a_share_is_met_exactly_whatever_the_ties(scores: list[int], share: float) -> None:
    values = np.array(scores, dtype=float)

    assert probabilities(of_share(values, share), values).mean() == pytest.approx(share, abs=1e-6)
