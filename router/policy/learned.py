"""What was learned from a log, in one JSON file, and the decisions that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from router.after.confidence import Confidence
from router.after.signs import AnswerSigns
from router.before.query import Query, QueryModel
from router.errors import BadPolicy
from router.policy.escalation import Escalation

Signal: TypeAlias = Literal["query", "answer", "coin"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the large tier answers, as a probability (between 0 and 1 only where lots are drawn), and
    why."""

    large: float
    reason: str


@dataclass(frozen=True, slots=True)
class Learned:
    """A policy for one pair of tiers."""

    quality: float
    """The share of the large tier's quality that was asked for."""
    outcomes: int
    decides_by: Signal
    """What beats a coin; a coin where nothing does."""
    escalation: Escalation
    query: QueryModel | None
    """There if the query decides."""
    confidence: Confidence | None
    """There if the answer decides."""
    said: tuple[str, ...]
    """What was found of each signal, a line each."""

    @property
    def needs_topic(self) -> bool:
        """It judges queries by topics, so one without says too little."""
        return self.query is not None and any(self.query.topic_gain.sums)

    def before(self, query: Query) -> Decision | None:
        """Decide before any tier has answered; None if the small one is to be heard first."""
        if self.decides_by == "answer":
            return None
        if self.query is not None:
            score = self.query.score(query)
            large = self.escalation.probability(score)
            return Decision(large, f"query score {score:.3f}, {_against(self.escalation, large)}")
        large = self.escalation.probability(0.0)
        return Decision(large, f"no signal beats a coin; {large:.0%} go to the large tier")

    def after(self, signs: AnswerSigns) -> Decision:
        """Decide on the small tier's answer. One that is broken is never kept."""
        if signs.broken is not None or self.confidence is None:
            return Decision(float(signs.broken is not None), _form(signs))
        judged = self.confidence.judge(signs)
        large = self.escalation.probability(-self.confidence.model.score(signs.values))
        return Decision(large, f"{judged.reason}; {_against(self.escalation, large)}")


def _against(escalation: Escalation, large: float) -> str:
    if 0 < large < 1:
        return f"on the threshold, where {large:.0%} are escalated"
    return f"{'above' if large else 'below'} the threshold for escalation"


def _form(signs: AnswerSigns) -> str:
    return (
        "the answer's form is sound" if signs.broken is None else f"the answer is of no use: {signs.broken}"
    )


def load(path: Path) -> Learned:
    """Read a policy. Raises BadPolicy."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Learned)
    except OSError as error:
        raise BadPolicy(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise BadPolicy(f"{path}: {error}") from None


def save(learned: Learned, path: Path) -> None:
    """Write a policy."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(learned), indent=1) + b"\n")
