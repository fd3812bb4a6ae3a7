"""The shipped calibration, and how one is fitted."""

import numpy as np
import pytest

from semantic_cache.decision.bounds import upper_bound
from semantic_cache.decision.calibration import Calibration
from semantic_cache.decision.features import NAMES, features
from semantic_cache.decision.train.calibrate import ladder, logistic
from semantic_cache.decision.verifier import Verifier
from semantic_cache.gates.text import parse


def test_the_shipped_files_belong_together() -> None:
    calibration = Calibration.load()
    assert calibration.id.startswith(Verifier.load().id)
    assert set(calibration.weights) == set(NAMES)
    assert list(calibration.rungs) == sorted(calibration.rungs)
    assert list(calibration.bounds) == sorted(calibration.bounds, reverse=True)
    assert calibration.weights["verifier"] > 0


def test_a_score_below_every_rung_is_bounded_by_one() -> None:
    calibration = Calibration.load()
    assert calibration.bound(calibration.rungs[0] - 0.01) == 1
    assert calibration.bound(calibration.rungs[-1]) == calibration.bounds[-1] < 0.05


def test_the_ladder_is_the_bound_of_all_that_scored_as_much() -> None:
    scores = np.linspace(0, 1, 1000)
    labels = (scores > 0.3).astype(float)
    rungs, bounds = ladder(scores, labels)
    best = min(range(len(rungs)), key=lambda row: bounds[row])
    above = scores >= rungs[best] - 1e-3
    assert bounds[best] == pytest.approx(
        upper_bound(int((labels[above] == 0).sum()), int(above.sum())), abs=2e-3
    )


def test_the_logistic_finds_the_weights_of_a_made_up_sample() -> None:
    random = np.random.default_rng(1)
    rows = random.standard_normal((4000, 2))
    labels = (random.random(4000) < 1 / (1 + np.exp(-(0.5 + 2 * rows[:, 0] - rows[:, 1])))).astype(float)
    assert logistic(rows, labels) == pytest.approx([0.5, 2.0, -1.0], abs=0.2)


def test_features_are_symmetric_and_see_what_has_no_counterpart() -> None:
    a, b = parse("How do I repair a kettle?"), parse("How do I repair a rusty kettle?")
    there, back = features(a, b, verifier=1.0, cosine=0.9), features(b, a, verifier=1.0, cosine=0.9)
    assert there == back
    assert dict(zip(NAMES, there, strict=True))["unmatched"] > 0
    assert features(a, a, verifier=1.0, cosine=1.0)[2:] == (1.0, 0, 0.0, 0.0, 0.0)
