"""Whether a tier's answers are still those that it was trusted with.

Three watches, each against what was usual when the trust was given: how often its answers are escalated and
how often kept ones turn out wrong (cumulative sums of log likelihood ratios, Page 1954), and how its
confidence is distributed (population stability index). A cumulative sum that crosses `log(n)` does so by
chance no more often than every n observations (Lorden 1971).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from math import log, sqrt

from router.after.signs import AnswerSigns
from router.online.belief import TierBelief

REFERENCE = 200
"""Judged answers from which it is learned what is usual, and those that are compared with it."""
_BINS = 10
_PSI_LIMIT = 0.25
"""The usual limit for a shift that needs action; two samples of 200 of the same differ by 0.09 and rarely by
more than 0.2."""
_EVERY = 20
_RARELY = log(10_000)
_ODDS = 2.5
"""The change of odds that is looked for."""
_WRONG_RARELY = log(1_000)
_SURE = 1.645


class Cusum:
    """Watches a share rise from what is usual to `odds` times the odds, or fall if that is below 1."""

    def __init__(self, usual: float, odds: float, limit: float = _RARELY, sum_: float = 0.0) -> None:
        """`sum_` is what an earlier watch had come to."""
        usual = min(0.98, max(0.02, usual))
        changed = odds * usual / (1 - usual + odds * usual)
        self._hit, self._miss = log(changed / usual), log((1 - changed) / (1 - usual))
        self._limit = limit
        self.sum = sum_

    def add(self, hit: bool) -> bool:
        """Take one observation; returns whether the share has changed."""
        self.sum = max(0.0, self.sum + (self._hit if hit else self._miss))
        return self.sum >= self._limit


def psi(usual: Sequence[float], now: Sequence[float], bins: int = _BINS) -> float:
    """Return the population stability index of two samples over the quantiles of the first.

    Half an observation stands in each bin beforehand, so that an empty one is not infinitely odd.
    """
    ordered = sorted(usual)
    edges = [ordered[len(ordered) * each // bins] for each in range(1, bins)]
    # Many equal values make edges coincide; one bin then takes them all.
    edges = sorted(set(edges))
    return sum((a - e) * log(a / e) for e, a in zip(_shares(usual, edges), _shares(now, edges), strict=True))


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    counts = [0.5] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return [count / (len(values) + 0.5 * len(counts)) for count in counts]


class Drift:
    """The watches over one tier of a route."""

    def __init__(self, belief: TierBelief, *, promised: bool = True) -> None:
        """`belief` is what judges its answers now. Where no quality was `promised`, how many answers are
        escalated is what a budget makes of it, and not watched."""
        self._promised = promised
        self._usual: list[AnswerSigns] = []
        self._now: deque[AnswerSigns] = deque(maxlen=REFERENCE)
        self._since = 0
        self._belief = belief
        self._more, self._fewer = Cusum(0.5, _ODDS), Cusum(0.5, 1 / _ODDS)
        self._wrong = Cusum(0.05, _ODDS, _WRONG_RARELY)
        self.trust(belief)

    def trust(self, belief: TierBelief) -> None:
        """Judge by a new belief from now on: what was usual is judged anew, so that learning is no drift.

        Where the query has a say in which requests get this far, that changes with the belief, and what is
        usual has to be found out again.
        """
        selects = belief.query is not None or self._belief.query is not None
        self._belief = belief
        if selects:
            self._usual.clear()
            self._now.clear()
            self._more, self._fewer = Cusum(0.5, _ODDS), Cusum(0.5, 1 / _ODDS)
        self._wrong = Cusum(1 - _kept_quality(belief), _ODDS, _WRONG_RARELY, self._wrong.sum)
        if len(self._usual) == REFERENCE:
            self._rebase()

    def judged(self, signs: AnswerSigns) -> str | None:
        """Take one answer that was judged; returns what has changed, if anything.

        Whether it is escalated is asked of the route's belief, whatever a tenant's own made of it: so was it
        of the usual ones.
        """
        if len(self._usual) < REFERENCE:
            self._usual.append(signs)
            if len(self._usual) == REFERENCE:
                self._rebase()
            return None
        self._now.append(signs)
        if self._promised and (why := self._escalated(signs)) is not None:
            return why
        self._since += 1
        if len(self._now) == REFERENCE and self._since % _EVERY == 0:
            index = psi(self._probabilities(self._usual), self._probabilities(self._now))
            if index > _PSI_LIMIT:
                return f"its confidence is not what it was (PSI {index:.2f})"
        return None

    def compared(self, *, agrees: bool) -> str | None:
        """Take one kept answer that was compared; returns what has changed, if anything."""
        if self._wrong.add(not agrees):
            return "kept answers are wrong more often than they were"
        return None

    def _escalated(self, signs: AnswerSigns) -> str | None:
        escalated = not self._belief.judge(signs)[1]
        if self._more.add(escalated):
            return "its answers are escalated more often than usual"
        if self._fewer.add(escalated):
            return "its answers are escalated less often than usual"
        return None

    def _rebase(self) -> None:
        share = sum(not self._belief.judge(signs)[1] for signs in self._usual) / REFERENCE
        # What is usual is itself only known from a sample.
        error = _SURE * sqrt(max(share * (1 - share), 1 / REFERENCE) / REFERENCE)
        self._more = Cusum(share + error, _ODDS, sum_=self._more.sum)
        self._fewer = Cusum(share - error, 1 / _ODDS, sum_=self._fewer.sum)

    def _probabilities(self, signs: Iterable[AnswerSigns]) -> list[float]:
        return [self._belief.judge(each)[0].probability for each in signs]


def _kept_quality(belief: TierBelief) -> float:
    """Return how often kept answers are right; where nothing vouches the surest are kept, which are at least
    as good as all."""
    return belief.ends_quality if belief.vouched else belief.quality
