"""Which requests go to the large tier, by a score: those above a threshold, and a share of those at it.

The share makes any mean cost reachable, and is all there is when the score tells nothing: then it is a coin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Escalation:
    """A threshold with the share of what lies exactly on it."""

    threshold: float
    share: float

    def probability(self, score: float) -> float:
        """Return the probability that a request with this score is to be escalated."""
        if score == self.threshold:
            return self.share
        return float(score > self.threshold)

    def escalates(self, score: float, draw: float) -> bool:
        """Decide; `draw` lies in [0, 1) and is the same whenever the same request comes again."""
        return draw < self.probability(score)


def escalate_share(scores: Sequence[float], share: float) -> Escalation:
    """Return the escalation of `share` of these scores, the highest first; ties are shared out."""
    wanted = share * len(scores)
    if wanted <= 0:
        return Escalation(FARTHEST, 0.0)
    ordered = sorted(scores, reverse=True)
    threshold = ordered[min(len(scores) - 1, max(0, ceil(wanted - 1e-9) - 1))]
    above, at = sum(score > threshold for score in scores), ordered.count(threshold)
    return Escalation(threshold, min(1.0, max(0.0, (wanted - above) / at)))


FARTHEST = 1e300
"""Beyond every score; infinity has no form in JSON."""

ALL_LARGE = Escalation(-FARTHEST, 1.0)
"""What holds as long as nothing is known: the large tier answers everything."""
