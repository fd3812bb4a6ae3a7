"""A score is believed only if it beats a coin beyond doubt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.fit.folds import folds
from router.fit.signal import Signal, auroc, measure

PARTS = folds(1000, 5, 0)


def outcomes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Difficulty, and gains that follow it."""
    rng = np.random.default_rng(seed)
    difficulty = rng.random(1000)
    weak, strong = rng.random(1000) > difficulty, rng.random(1000) > difficulty / 4
    return difficulty, strong.astype(float) - weak.astype(float)


def test_a_score_that_follows_difficulty_helps() -> None:
    difficulty, gain = outcomes(1)

    signal = measure(difficulty, gain, PARTS)

    assert signal.helps
    assert 0.5 < signal.lower < signal.recovered
    assert "helps" in signal.said("length")


def test_noise_almost_never_does() -> None:
    taken = [
        measure(np.random.default_rng(seed + 100).random(1000), outcomes(seed)[1], PARTS).helps
        for seed in range(100)
    ]

    assert sum(taken) <= 8


def test_a_constant_score_is_a_coin() -> None:
    signal = measure(np.zeros(1000), outcomes(1)[1], PARTS)

    assert signal.recovered == pytest.approx(0.5)
    assert not signal.helps
    assert "does not beat a coin" in signal.said("length")


def test_folds_with_different_zeros_are_not_compared_with_each_other() -> None:
    difficulty, gain = outcomes(1)
    shifted = difficulty.copy()
    for number, part in enumerate(PARTS):
        shifted[part] += 10 * number

    assert measure(shifted, gain, PARTS) == measure(difficulty, gain, PARTS)


def test_where_the_large_model_is_no_better_nothing_helps() -> None:
    difficulty, gain = outcomes(1)

    signal = measure(difficulty, -gain, PARTS)

    assert not signal.helps
    assert "no better" in signal.said("length")


def test_what_hardly_passes_is_hardly_believed_and_what_passes_well_is() -> None:
    trust = [
        Signal(0.5 + t * 0.02, 0.5 + (t - 1.96) * 0.02, 0.2).trust for t in (1.9, 2.2, 2.5, 3.0, 4.0, 8.0)
    ]

    assert trust == sorted(trust)
    assert trust[0] == 0
    assert trust[1] < 0.1 < trust[2] < 0.6 < trust[3] < 0.95 < trust[4]
    assert trust[5] == pytest.approx(1)


def test_a_gain_that_was_picked_for_being_large_is_near_the_true_one_when_trusted() -> None:
    seen = np.random.default_rng(0).normal(2.5, 1, 4000)
    passed = [Signal(0.5 + t / 100, 0.5 + (t - 1.96) / 100, 0.2) for t in seen if t > 1.96]

    believed = np.mean([signal.trust * (signal.recovered - 0.5) * 100 for signal in passed])

    assert abs(believed - 2.5) < abs(np.mean([(signal.recovered - 0.5) * 100 for signal in passed]) - 2.5)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    yes = [score for score, label in rows if label]
    no = [score for score, label in rows if not label]
    found = auroc(np.array([float(score) for score, _ in rows]), np.array([label for _, label in rows]))

    if not yes or not no:
        assert found is None
    else:
        pairs = [(a > b) + (a == b) / 2 for a in yes for b in no]
        assert found == pytest.approx(sum(pairs) / len(pairs))
