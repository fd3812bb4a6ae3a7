"""Which requests go to the large tier, by a score: those above a threshold, and a share of those at it.

The share makes any mean cost reachable, and is all there is when the score tells nothing: then it is a coin.
"""

from __future__ import annotations

from dataclasses import dataclass


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


FARTHEST = 1e300
"""Beyond every score; infinity has no form in JSON."""

ALL_LARGE = Escalation(-FARTHEST, 1.0)
"""What holds as long as nothing is known: the large tier answers everything."""
