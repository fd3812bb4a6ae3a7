"""Learning from outcomes: by vectors where there are any, by signs otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from router.before.query_signs import query_signs
from router.fit.query import QueryOutcomes, fit_ridge
from router.fit.signal import auroc
from router.outcomes import Outcome


def made(count: int, seed: int) -> tuple[list[Outcome], np.ndarray]:
    """Outcomes whose difficulty is the first entry of their vector, and shows in their length."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hard = vectors[:, 0] > 0
    right = np.where(hard, rng.random(count) < 0.2, rng.random(count) < 0.9)
    outcomes = [
        Outcome("why? " * (40 if h else 4), bool(r), bool(rng.random() < 0.95))
        for h, r in zip(hard, right, strict=True)
    ]
    return outcomes, vectors


@pytest.mark.parametrize("with_vectors", [True, False])
def test_unseen_queries_are_put_in_order(with_vectors: bool) -> None:
    outcomes, vectors = made(400, 5)
    signs = [query_signs(outcome.prompt) for outcome in outcomes]
    data = QueryOutcomes(outcomes, signs, vectors if with_vectors else None)
    past, rest = np.arange(200), np.arange(200, 400)

    scores = data.scores(data.fit(past), past, rest)

    fails = np.array([not outcomes[row].weak_right for row in rest])
    found = auroc(scores, fails)
    assert found is not None and found > 0.7


def test_outcomes_that_are_all_right_leave_the_topics() -> None:
    outcomes = [Outcome("why?", True, True, "law")] * 5
    data = QueryOutcomes(outcomes, [{}] * 5, None)

    assert data.scores(data.fit(np.arange(5)), np.arange(5), np.arange(5)).tolist() == [0.0] * 5


def test_a_ridge_of_nothing_is_the_mean() -> None:
    linear = fit_ridge(np.eye(4, dtype=np.float32), np.array([1.0, 1.0, 1.0, 1.0]))

    assert linear([0.3, 0.1, 0.0, 0.0]) == pytest.approx(1.0)
