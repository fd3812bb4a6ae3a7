"""Learns a `Confidence` from answers that were right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from router.after.confidence import Confidence
from router.after.signs import AnswerSigns
from router.fit.folds import Rows, unseen_scores
from router.fit.logistic import fit_logistic
from router.isotonic import fit_isotonic
from router.logistic import Logistic
from router.policy.escalation import FARTHEST

BLOCK = 20
"""Least outcomes behind a calibrated value."""


def fit_confidence(
    signs: Sequence[AnswerSigns], right: Sequence[bool], parts: Sequence[Rows], penalty: float = 100.0
) -> tuple[Confidence, NDArray[np.float64]]:
    """Return the model of all rows in `parts`, and each row's calibrated probability by models that have not
    seen it, in the rows' order.

    `parts` hold each row of `signs` once. Broken answers teach the form nothing about right and wrong sums,
    so scores are learned from the others. Raises TooFewOutcomes.
    """

    def fit(rows: Rows) -> Logistic:
        whole = [row for row in rows if signs[row].broken is None]
        return fit_logistic([signs[row].values for row in whole], [right[row] for row in whole], penalty)

    def scoring(rows: Rows) -> Callable[[Rows], list[float]]:
        model = fit(rows)
        return lambda others: [model.score(signs[row].values) for row in others]

    scores = unseen_scores(scoring, parts)
    usable = np.array([sign.broken is None for sign in signs])
    outcomes = np.asarray(right, dtype=float)
    calibration = fit_isotonic(scores[usable].tolist(), outcomes[usable].tolist(), BLOCK)
    confidence = Confidence(fit(np.concatenate(parts)), calibration)
    return confidence, np.where(usable, scores, -FARTHEST)
