"""From a knob to a threshold: the cheapest escalation that keeps a quality beyond doubt, or fits a budget.

Quality is a share of the large tier's. The promise is at most a point less than asked in nine of ten
stretches of requests as long as the log that it was learned from. It is tested on outcomes whose scores come
from models that had not seen them, from strict to lax in fixed steps, and the first step that cannot be
vouched for ends the walk (fixed-sequence testing: many steps, one error rate).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.bounds import normal_quantile
from router.policy.escalation import ALL_LARGE, Escalation, escalate_share

_SLACK = 0.01
_CONFIDENCE = 0.90
_STEPS = 50
_LEAST = 100
"""Outcomes below which nothing is vouched for."""
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


def for_quality(
    scores: Floats,
    weak: Flags,
    strong: Flags,
    quality: float,
    *,
    slack: float = _SLACK,
    confidence: float = _CONFIDENCE,
    trust: float = 1.0,
) -> Escalation:
    """Return the escalation of the fewest requests that keeps `quality` less `slack` with `confidence`.

    All rows are [outcomes]. `ALL_LARGE` if not even the first step can be vouched for. One more request on
    which a small answer would be wrong is always counted, since none seen so far is no proof. `trust` is the
    share of what the scores gain over a coin that is believed (`Signal.trust`).
    """
    if len(scores) < _LEAST:
        return ALL_LARGE
    # The log and the stretch that is promised for are samples of equal size: their errors add up.
    z = normal_quantile(confidence) * np.sqrt(2)
    w, s = weak.astype(float), strong.astype(float)
    # What a request counts: its quality less what was asked of it. The mean must not be below 0.
    small, large = w - (quality - slack) * s, s - (quality - slack) * s
    chosen = ALL_LARGE
    for step in range(_STEPS, -1, -1):
        escalation = of_share(scores, step / _STEPS)
        p = probabilities(escalation, scores)
        feared = -(quality - slack) * (step < _STEPS)
        tossed = p.mean() * large.sum() + (1 - p.mean()) * small.sum()
        gain = (p * large + (1 - p) * small).sum() - tossed
        mean = (tossed + (trust * gain if gain > 0 else gain) + feared) / (len(scores) + 1)
        variance = ((p * large**2 + (1 - p) * small**2).sum() + feared**2) / (len(scores) + 1) - mean**2
        if mean - z * np.sqrt(max(0.0, variance) / len(scores)) < 0:
            break
        chosen = escalation
    return chosen


def for_budget(
    scores: Floats, small_usd: Floats, large_usd: Floats, budget_usd: float, *, cascade: bool
) -> Escalation | None:
    """Return the escalation of the most requests whose mean cost fits the budget; None if none does.

    In a `cascade` the small tier is paid for what is escalated too.
    """
    for step in range(_STEPS, -1, -1):
        escalation = of_share(scores, step / _STEPS)
        p = probabilities(escalation, scores)
        cost = p * large_usd + (1.0 if cascade else 1 - p) * small_usd
        if cost.mean() <= budget_usd:
            return escalation
    return None


def of_share(scores: Floats, share: float) -> Escalation:
    """Return the escalation of `share` of these scores, the highest first; ties are shared out."""
    return escalate_share(scores.tolist(), share)


def probabilities(escalation: Escalation, scores: Floats) -> Floats:
    """Return the probability of escalation of each score."""
    return np.array([escalation.probability(score) for score in scores.tolist()])
