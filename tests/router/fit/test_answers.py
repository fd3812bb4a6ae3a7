"""Confidence is learned from answers that were right or wrong."""

from __future__ import annotations

import numpy as np
import pytest

from router.after.signs import AnswerSigns, SmallAnswer, signs_of
from router.fit.answers import fit_confidence
from router.fit.folds import folds
from router.fit.signal import auroc
from router.policy.escalation import FARTHEST


def answers(count: int, seed: int) -> tuple[list[AnswerSigns], list[bool]]:
    rng = np.random.default_rng(seed)
    signs, right = [], []
    for a, b in rng.integers(2, 60, (count, 2)).tolist():
        good = bool(rng.random() < 0.5)
        stated = a * b + (0 if good or rng.random() < 0.3 else 7)
        signs.append(signs_of(SmallAnswer(f"{a} boxes of {b}?", f"{a} * {b} = {stated}", "stop")))
        right.append(good)
    return signs, right


def test_what_was_learned_holds_for_new_answers() -> None:
    signs, right = answers(300, 1)
    confidence, unseen = fit_confidence(signs, right, folds(300, 5, 0))
    new, truth = answers(300, 2)
    judged = np.array([confidence.judge(sign).probability for sign in new])

    found, foreseen = auroc(judged, np.array(truth)), auroc(unseen, np.array(right))
    assert found is not None and foreseen is not None
    assert found == pytest.approx(foreseen, abs=0.08) and found > 0.75
    assert judged.mean() == pytest.approx(np.mean(truth), abs=0.08)


def test_broken_answers_come_last_and_teach_nothing() -> None:
    signs, right = answers(100, 1)
    broken = signs_of(SmallAnswer("3 boxes of 4?", "", "stop"))
    confidence, unseen = fit_confidence([*signs, broken], [*right, False], folds(101, 5, 0))

    assert unseen[-1] == -FARTHEST
    assert confidence.judge(broken).probability == 0
