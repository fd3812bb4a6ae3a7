"""Learns a `Prior` from answers to questions of several kinds.

What it will judge are questions of none of these kinds, so every score that is calibrated, and every signal
that is tested, comes from models that have not seen the question's kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from router.after.signs import AnswerSigns
from router.before.query_signs import query_signs
from router.fit.answers import BLOCK, fit_confidence
from router.fit.folds import Rows
from router.fit.query import QueryOutcomes
from router.fit.signal import auroc, measure
from router.isotonic import Isotonic
from router.outcomes import Outcome
from router.prior import Prior

PENALTY = 10.0
"""Less than where one kind of question is learned from: what many kinds have in common is hardly noise."""


def fit_prior(
    model: str,
    kinds: Sequence[str],
    prompts: Sequence[str],
    signs: Sequence[AnswerSigns],
    right: Sequence[bool],
) -> Prior:
    """Return what `right` and wrong answers of `model` teach; all sequences have one item an answer.

    The large tier is taken to be right always. Raises TooFewOutcomes if all answers are alike.
    """
    parts = by_kind(kinds)
    confidence, unseen = fit_confidence(signs, right, parts, PENALTY)
    flags = np.array(right, dtype=bool)
    found = auroc(unseen, flags)
    said = [f"the answer tells right from wrong with an AUROC of {found:.3f} on kinds not learned from"]
    outcomes = [Outcome(prompt, ok, True) for prompt, ok in zip(prompts, right, strict=True)]
    data = QueryOutcomes(outcomes, [query_signs(prompt) for prompt in prompts], None)
    rows = np.arange(len(prompts))
    # Whole kinds may be right or wrong: what tells them apart shows only where all are ranked together, and
    # models that differ by one kind of many have about the same zero.
    signal = measure(data.unseen(rows, parts), (~flags).astype(float), [rows])
    said.append(signal.said("the query alone"))
    query = data.fit(rows) if signal.helps else None
    confidence = replace(confidence, calibration=_doubted(confidence.calibration))
    return Prior(model, len(prompts), confidence, query, tuple(said))


def _doubted(calibration: Isotonic) -> Isotonic:
    """Return the map with two outcomes more behind each value, a right and a wrong one (Laplace): a prior
    vouches for what nobody has seen, and a block without a wrong answer is not certain."""
    values = [(BLOCK * value + 1) / (BLOCK + 2) for value in calibration.values]
    return Isotonic(calibration.scores, tuple(values))


def by_kind(kinds: Sequence[str]) -> list[Rows]:
    """Return the rows of each kind."""
    places: dict[str, list[int]] = {}
    for row, kind in enumerate(kinds):
        places.setdefault(kind, []).append(row)
    return [np.array(rows, dtype=np.intp) for rows in places.values()]
