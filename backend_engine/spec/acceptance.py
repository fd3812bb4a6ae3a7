"""How likely the next drafted token is to be accepted: learnt from what became of earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_EVIDENCE = 16
"""Evidence beyond this is not told apart."""
_SEQUENCE_MEMORY = 0.9
_ENGINE_MEMORY = 0.99
_FADING = 0.99
_PRIOR_WEIGHT = 4.0
"""Drafted tokens of a sequence's own after which they count as much as all sequences' together."""


@dataclass(slots=True)
class Tally:
    """Verified draft tokens and the accepted ones among them, older ones counting less."""

    accepted: float = 0.0
    tried: float = 0.0

    def add(self, accepted: int, tried: int, memory: float) -> None:
        self.fade(memory**tried)
        self.accepted += accepted
        self.tried += tried

    def fade(self, factor: float) -> None:
        self.accepted *= factor
        self.tried *= factor

    def rate(self, prior: float, weight: float) -> float:
        """Return the share accepted, mixed with `weight` tokens' worth of `prior`."""
        return (self.accepted + weight * prior) / (self.tried + weight)


class AcceptanceRates:
    """Rates by evidence over all sequences; a sequence's own history moves its rate away from them."""

    def __init__(self) -> None:
        self._by_evidence = [Tally() for _ in range(MOST_EVIDENCE + 1)]

    def rate(self, sequence: Tally, evidence: int) -> float:
        """Return the probability that a drafted token is accepted if those before it are, in (0, 1)."""
        evidence = min(evidence, MOST_EVIDENCE)
        # Before anything is known, n recognised tokens are taken for n successes among n + 2.
        prior = (evidence + 0.5) / (evidence + 2)
        return sequence.rate(self._by_evidence[evidence].rate(prior, _PRIOR_WEIGHT), _PRIOR_WEIGHT)

    def verified(self, sequence: Tally, evidence: int, drafted: int, accepted: int) -> None:
        """Learn that the first `accepted` of `drafted` tokens were right; the next, if any, was wrong."""
        tried = min(accepted + 1, drafted)
        sequence.add(accepted, tried, _SEQUENCE_MEMORY)
        self._by_evidence[min(evidence, MOST_EVIDENCE)].add(accepted, tried, _ENGINE_MEMORY)

    def passed_over(self, sequence: Tally, evidence: int) -> None:
        """Note that a draft was not tried: bad experience fades, or it could never be corrected."""
        sequence.fade(_FADING)
        self._by_evidence[min(evidence, MOST_EVIDENCE)].fade(_FADING)


_STEPS = 16
"""Sizes of shares that are told apart."""


class Calibration:
    """How often tokens are accepted that a drafter gave a certain share; at first it is taken at its word."""

    def __init__(self) -> None:
        self._by_size = [Tally() for _ in range(_STEPS + 1)]

    def rate(self, share: float) -> float:
        """Return the probability that a token of this share is accepted if those before it are, in (0, 1)."""
        return self._tally(share).rate(min(max(share, 0.01), 0.99), _PRIOR_WEIGHT)

    def verified(self, shares: Sequence[float], accepted: int) -> None:
        """Learn that the first `accepted` tokens of a draft were right; the next, if any, was wrong."""
        for at, share in enumerate(shares[: accepted + 1]):
            self._tally(share).add(int(at < accepted), 1, _ENGINE_MEMORY)

    def passed_over(self, share: float) -> None:
        """Note that a draft that began with such a token was not tried."""
        self._tally(share).fade(_FADING)

    def _tally(self, share: float) -> Tally:
        return self._by_size[round(_STEPS * share)]
