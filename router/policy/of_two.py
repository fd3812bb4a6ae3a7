"""A policy that was learned for a small and a large tier, as a cascade asks it."""

from __future__ import annotations

from collections.abc import Mapping

from router.after.signs import AnswerSigns
from router.policy.base import Choice, Facts
from router.policy.learned import Decision, Learned

SMALL, LARGE = 0, 1
_ALONE = "the large model cannot take the request"


class OfTwo:
    """Begins with the small tier where that can be taken back or the query says so."""

    def __init__(self, learned: Learned) -> None:
        self._learned = learned

    def first(self, facts: Facts) -> Choice:
        if not facts.able[SMALL]:
            return Choice(LARGE, "the small model cannot take the request")
        if not facts.able[LARGE]:
            return Choice(SMALL, _ALONE)
        decision = self._learned.before(facts.query)
        if decision is None:
            if not facts.judgeable:
                return Choice(LARGE, "only an answer could decide, and none can be taken back")
            return Choice(SMALL, "the small model's answer decides", judged=True)
        return _chosen(decision, facts)

    def after(self, facts: Facts, heard: Mapping[int, AnswerSigns]) -> Choice:
        if not facts.able[LARGE]:
            return Choice(SMALL, _ALONE)
        return _chosen(self._learned.after(heard[SMALL]), facts)


def _chosen(decision: Decision, facts: Facts) -> Choice:
    return Choice(LARGE if facts.draw < decision.large else SMALL, decision.reason)
