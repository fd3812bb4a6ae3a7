"""Learns a policy from a log: which signal to go by, and the threshold that keeps a quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.after.confidence import Confidence
from router.after.signs import AnswerSigns, SmallAnswer, signs_of
from router.before.query_signs import query_signs
from router.errors import TooFewOutcomes
from router.fit.answers import fit_confidence
from router.fit.folds import folds
from router.fit.knobs import for_quality, of_share, probabilities
from router.fit.query import QueryOutcomes
from router.fit.signal import measure
from router.outcomes import Outcome
from router.policy.escalation import ALL_LARGE, FARTHEST
from router.policy.learned import Learned, Signal

_FOLDS = 5
_LEAST = 100
"""A promise needs as many outcomes at least; see `router.fit.knobs`."""


def learn(outcomes: Sequence[Outcome], quality: float, seed: int = 0) -> Learned:
    """Return the policy that keeps `quality`, a share of the large tier's.

    The query is judged by topic and signs; the answer by its text, if all outcomes have one. Of the signals
    that beat a coin the one with the higher lower bound decides. Raises TooFewOutcomes.
    """
    if len(outcomes) < _LEAST:
        raise TooFewOutcomes(
            f"{len(outcomes)} outcomes are too few to promise anything; {_LEAST} is the least"
        )
    rows = np.arange(len(outcomes))
    parts = folds(len(outcomes), _FOLDS, seed)
    weak = np.array([outcome.weak_right for outcome in outcomes])
    strong = np.array([outcome.strong_right for outcome in outcomes])
    gain = np.array([outcome.gain for outcome in outcomes], dtype=float)

    data = QueryOutcomes(outcomes, [query_signs(outcome.prompt) for outcome in outcomes], None)
    scores = data.unseen(rows, parts)
    signal = measure(scores, gain, parts)
    said = [signal.said("the query alone")]
    decides: Signal = "coin"
    best, trust, own = 0.5, 0.0, np.zeros(len(outcomes))
    query = confidence = None
    if signal.helps:
        decides, best, trust, query = "query", signal.lower, signal.trust, data.fit(rows)
        own = data.scores(query, rows, rows)
    else:
        scores = own
    if all(outcome.weak_answer is not None for outcome in outcomes) and len(set(weak.tolist())) > 1:
        signs = [signs_of(SmallAnswer(outcome.prompt, outcome.weak_answer or "")) for outcome in outcomes]
        learned, unseen = fit_confidence(signs, weak.tolist(), parts)
        signal = measure(-unseen, gain, parts)
        said.append(signal.said("the small model's answer"))
        if signal.helps and signal.lower > best:
            decides, scores, trust, query, confidence = "answer", -unseen, signal.trust, None, learned
            own = np.array([_score(learned, sign) for sign in signs])
    escalation = for_quality(scores, weak, strong, quality, trust=trust)
    if escalation != ALL_LARGE:
        # Models of the folds have different zeros, which matters where many requests score alike: only the
        # share is taken from them, and the threshold is where the model that decides has that share.
        escalation = of_share(own, float(probabilities(escalation, scores).mean()))
    return Learned(quality, len(outcomes), decides, escalation, query, confidence, tuple(said))


def _score(confidence: Confidence, signs: AnswerSigns) -> float:
    return FARTHEST if signs.broken is not None else -confidence.model.score(signs.values)
