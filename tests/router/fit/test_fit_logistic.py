"""Fitting finds what is there, and says when there is nothing to fit."""

from __future__ import annotations

import numpy as np
import pytest

from router.errors import TooFewOutcomes
from router.fit.logistic import fit_logistic


def test_the_sign_that_decides_gets_the_weight() -> None:
    rng = np.random.default_rng(1)
    rows = [{"decides": float(a), "noise": float(b), "always": 1.0} for a, b in rng.standard_normal((400, 2))]

    model = fit_logistic(rows, [row["decides"] > 0 for row in rows], penalty=10)

    assert model.weights["decides"].weight > 10 * abs(model.weights["noise"].weight)
    assert "always" not in model.weights


def test_without_signs_that_differ_the_share_is_the_answer() -> None:
    model = fit_logistic([{"always": 1.0}] * 10, [True] * 7 + [False] * 3)

    assert model.probability({}) == pytest.approx(0.7)


def test_a_sign_that_some_rows_lack_is_learned_from_the_others() -> None:
    rows = [{"a": 1.0}, {"a": -1.0}, {}] * 40

    model = fit_logistic(rows, [True, False, True] * 40, penalty=1)

    assert model.probability({"a": 1.0}) > model.probability({}) > model.probability({"a": -1.0})


def test_outcomes_that_are_all_alike_teach_nothing() -> None:
    with pytest.raises(TooFewOutcomes):
        fit_logistic([{"a": 1.0}, {"a": 2.0}], [True, True])
