"""A model learned in a few passes orders what it has not seen, and starts from what is known."""

from __future__ import annotations

import numpy as np
import pytest

from router.fit.signal import auroc
from router.logistic import Logistic, Weight
from router.online.logistic import fit_online
from tests.router.online.made import outcomes

ANCHOR = Logistic(0.0, {"sure": Weight(2.0, 0.5, 0.3)})


def order(model: Logistic, seed: int = 9) -> float:
    rows = outcomes(2000, seed=seed)
    found = auroc(
        np.array([model.score(row.signs.values) for row in rows]), np.array([row.agrees for row in rows])
    )
    assert found is not None
    return found


def test_it_finds_the_sign_that_tells() -> None:
    rows = outcomes(400)
    model = fit_online([row.signs.values for row in rows], [row.agrees for row in rows])

    assert order(model) > 0.8
    assert abs(model.weights["odd"].weight) < 0.3 * model.weights["sure"].weight


def test_without_outcomes_it_is_its_anchor() -> None:
    model = fit_online([], [], ANCHOR)

    assert model.score({"sure": 0.8}) == pytest.approx(ANCHOR.score({"sure": 0.8}))
    assert fit_online([], []).probability({}) == 0.5


def test_few_outcomes_do_not_overrule_the_anchor_and_many_do() -> None:
    def turned(count: int) -> float:
        rows = outcomes(count, right=lambda sure: 1 - sure)
        model = fit_online([row.signs.values for row in rows], [row.agrees for row in rows], ANCHOR)
        return model.weights["sure"].weight

    assert turned(10) > 0 > turned(1000)


def test_a_sign_that_is_missing_counts_as_its_mean() -> None:
    model = fit_online([{"a": 1.0}, {"a": 3.0}, {}] * 50, [True, False, True] * 50)

    assert model.score({}) == pytest.approx(model.score({"a": 2.0}))


def test_outcomes_that_are_all_alike_make_it_sure_and_not_endlessly_so() -> None:
    rows = outcomes(300, right=lambda sure: 1.0)
    model = fit_online([row.signs.values for row in rows], [row.agrees for row in rows])

    assert 0.9 < model.probability({}) < 1
