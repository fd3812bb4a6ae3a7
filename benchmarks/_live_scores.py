"""What is counted of the live cascade: confidence beside simple scores, and the calls that each saves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks._live_answers import Answered
from benchmarks._route_scores import calibration_error, share_for
from benchmarks.report import Figures
from router.fit.logistic import fit_logistic
from router.fit.signal import auroc

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def baselines(past: Sequence[Answered], rest: Sequence[Answered]) -> dict[str, Floats]:
    """Return what simple scores think of the answers in `rest`: higher is surer.

    `length` is a logistic model of the answer's and the prompt's length, learned from `past`; the two alone
    are taken in the direction that `past` shows. `random` has no opinion.
    """
    right = np.array([answer.right for answer in past])
    out = {"random": np.zeros(len(rest)), "oracle": np.array([float(answer.right) for answer in rest])}
    model = fit_logistic([_lengths(answer) for answer in past], right.tolist(), 1.0)
    out["length"] = np.array([model.score(_lengths(answer)) for answer in rest])
    for name, sign in (("answer-length", "answer"), ("prompt-length", "prompt")):
        before = np.array([_lengths(answer)[sign] for answer in past])
        found = auroc(before, right)
        way = -1.0 if found is not None and found < 0.5 else 1.0
        out[name] = way * np.array([_lengths(answer)[sign] for answer in rest])
    out["mean-logprob"] = np.array(
        [float(np.mean([token.logprob for token in answer.said.tokens] or [0.0])) for answer in rest]
    )
    return out


def _lengths(answer: Answered) -> dict[str, float]:
    return {
        "answer": float(np.log1p(len(answer.said.text))),
        "prompt": float(np.log1p(len(answer.said.prompt))),
    }


def scored(sureness: Floats, small: Flags, large: Flags) -> Figures:
    """Return how well a score tells right answers, and the calls of the large model that it saves."""
    calls = share_for(-sureness, small, large, 0.95)
    found = auroc(sureness, small)
    return {
        "auroc": None if found is None else round(found, 4),
        "strong_calls_at_95": round(calls, 4),
        "calls_saved_at_95": round(1 - calls, 4),
    }


def calibrated(probabilities: Floats, right: Flags) -> float:
    """Return the expected calibration error, ten bins of equal size."""
    return round(calibration_error(probabilities, right), 4)
