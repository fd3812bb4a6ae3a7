"""The labels of a scope as decisions read them: looked through once, not again for every question."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from semantic_cache.decision.base import Observations
from semantic_cache.decision.drift import RECENT, alarm
from semantic_cache.decision.posterior import Shift, Tail, bounded, scope_shift


@dataclass(frozen=True, slots=True)
class Pool:
    """What is in force of a scope's labels, and what follows from them whatever is asked."""

    drift: str
    """Which test sees hits getting worse, or ""."""
    scope: Shift
    scores: Sequence[float]
    """Of the labels, rising."""
    wrong_before: Sequence[int]
    """How many of the first n are wrong, for every n."""

    @classmethod
    def of(cls, labels: Observations) -> Pool:
        """Look through labels of the calibration in force."""
        drift = alarm(labels)
        # What was learnt no longer holds: the strictest prior, which the newest labels only tighten.
        seen = labels.seen[-RECENT:] if drift else labels.seen
        rising = sorted(seen, key=lambda label: label.score)
        wrong = accumulate((not label.same for label in rising), initial=0)
        return cls(drift, scope_shift(seen), [label.score for label in rising], list(wrong))

    def tail(self, score: float) -> Tail:
        """Return 95% bounds of the share of wrong answers among the labels from `score` on."""
        place = bisect_left(self.scores, score)
        return bounded(self.wrong_before[-1] - self.wrong_before[place], len(self.scores) - place)
