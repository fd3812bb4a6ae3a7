"""How probable it is that a small answer is right, with the reason in a line."""

from __future__ import annotations

from dataclasses import dataclass

from router.after.signs import AnswerSigns
from router.isotonic import Isotonic
from router.logistic import Logistic


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is thought of an answer."""

    probability: float
    reason: str


@dataclass(frozen=True, slots=True)
class Confidence:
    """A logistic score over the signs, and what the score has meant so far."""

    model: Logistic
    calibration: Isotonic

    def judge(self, signs: AnswerSigns) -> Judgement:
        """Return the calibrated probability that the answer is right; 0 for one that is broken."""
        if signs.broken is not None:
            return Judgement(0.0, f"the answer is {_BROKEN[signs.broken]}")
        probability = min(1.0, max(0.0, self.calibration(self.model.score(signs.values))))
        by = ", ".join(name.replace("_", " ") for name in self.model.strongest(signs.values))
        reason = f"right with probability {probability:.2f}"
        if by:
            reason += f", mostly by {by}"
        if signs.missing:
            reason += f"; without {' and '.join(name.replace('_', ' ') for name in signs.missing)}"
        return Judgement(probability, reason)


_BROKEN = {
    "empty": "empty",
    "cut": "cut short",
    "form": "not in the form that was asked for",
    "refused": "a refusal",
    "looping": "repeating itself",
    "tools": "no call that was asked for",
    "doubted": "doubted at a second look",
}
