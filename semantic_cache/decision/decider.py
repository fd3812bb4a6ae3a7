"""The decision: gates, verifier, calibration, then the labels of scope and entry against the error budget.

A candidate is served if the upper bound of P(wrong) is within the budget. Without labels the bound is the
shipped ladder's. Labels move it in two ways: they shift the score at which the ladder is read (scope and
entry, by the lower bound of their log-odds, and only down), and the scope's own record from this score on can
bring the bound down where it is long and clean enough, or up where it shows the budget to be broken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from semantic_cache.decision.base import Assessment, Candidate, Decision, Encoding, Observation, Observations
from semantic_cache.decision.bounds import sigmoid
from semantic_cache.decision.calibration import Calibration
from semantic_cache.decision.features import features
from semantic_cache.decision.pool import Pool
from semantic_cache.decision.posterior import ENTRY_SD, SCOPE_SD, entry_shift, lower_log_odds
from semantic_cache.decision.verifier import Verifier, reads
from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.checks import check
from semantic_cache.gates.text import parse

AUDIT = 0.02
"""Share of hits that are answered afresh all the same: without them nobody would know how good hits are."""
AUDIT_ALARMED = 0.25
ENTRY_LABELS = 32
POOL_LABELS = 1000
_POOLS = 256
"""Scopes whose labels are not looked through again as long as the same object comes."""
_NO_LABELS = Observations()


class CalibratedDecider:
    """`semantic_cache.decision.base.Decider`; pure but for caches of fits."""

    def __init__(
        self,
        verifier: Verifier | None = None,
        calibration: Calibration | None = None,
        *,
        embedder: str | None = None,
    ) -> None:
        """`embedder` is the id of the one whose encodings come; None if they are the verifier's own."""
        self.verifier = verifier or Verifier.load()
        self.calibration = calibration or Calibration.load()
        self.can_read = embedder is None or reads(embedder)
        """False: the verifier abstains and nothing is served, as no bound holds for other vectors."""
        self._pools: OrderedDict[int, tuple[Observations, Pool]] = OrderedDict()

    def screen(self, text: str, stored: Sequence[str]) -> list[tuple[GateVerdict, ...]]:
        """Return what the gates say of each stored question."""
        return [check(text, other) for other in stored]

    def decide(
        self,
        text: str,
        encoding: Encoding,
        candidates: Sequence[Candidate],
        *,
        error_budget: float,
        seed: bytes,
        threshold: float | None = None,
        pool: Observations | None = None,
    ) -> Decision:
        """Return what to do; see `semantic_cache.decision.base.Decider`. `seed` is at least 8 bytes of a
        digest."""
        labels = self._read(pool)
        drift = labels.drift
        verdicts = tuple(
            self.assess(text, encoding, candidate, labels, error_budget, threshold)
            for candidate in candidates
        )
        best = min((v for v in verdicts if v.score is not None), key=lambda v: v.bound, default=None)
        if best is None:
            return Decision(None, False, None, 0.0, 1.0, _why(verdicts), verdicts)
        if best.bound > error_budget:
            reason = "drift" if drift else "unsure"
            return Decision(None, True, best.id, best.probability, best.bound, reason, verdicts)
        if _chance(seed) < (AUDIT_ALARMED if drift else AUDIT):
            return Decision(None, True, best.id, best.probability, best.bound, "audit", verdicts)
        return Decision(best.id, False, None, best.probability, best.bound, "served", verdicts)

    def assess(
        self,
        text: str,
        encoding: Encoding,
        candidate: Candidate,
        labels: Pool,
        error_budget: float,
        threshold: float | None = None,
    ) -> Assessment:
        """Return what is known of one candidate; it may be served if `bound` is within the budget.

        When hits get worse, labels can only make it stricter.
        """
        gates = candidate.gates or check(text, candidate.text)
        if not gates[-1].passed or (threshold is not None and candidate.similarity < threshold):
            return Assessment(candidate.id, gates, None, (), None, 0.0, 1.0)
        a, b = parse(text), parse(candidate.text)
        said = (
            self.verifier.score(a, b, encoding, candidate.encoding)
            if candidate.encoding is not None and self.can_read
            else None
        )
        if said is None:
            return Assessment(candidate.id, gates, None, (), None, 0.0, 1.0)
        row = features(a, b, verifier=said, cosine=candidate.similarity)
        score = self.calibration.score(row)
        if not self.calibration.knows(row):
            # Without a score it teaches nothing either: labels are for scores that mean something.
            return Assessment(candidate.id, gates, said, row, None, 0.0, 1.0)
        mean, shifted = self._shifted(score, candidate.history, labels)
        # A shift that labels far below a rung have earned says little about that rung: it only tightens.
        bound = self.calibration.bound(min(shifted, score))
        record = labels.tail(score)
        if record.lower > error_budget:
            bound = max(bound, record.lower)
        elif not labels.drift and shifted >= score and record.upper <= error_budget:
            bound = min(bound, record.upper)
        return Assessment(candidate.id, gates, said, row, score, sigmoid(mean), bound)

    def learn(
        self, history: Observations, assessment: Assessment, *, same: bool, keep: int = ENTRY_LABELS
    ) -> Observations:
        """Return a history with one more label, `keep` labels at most; an assessment without a score
        teaches nothing."""
        if assessment.score is None:
            return history
        kept = history.seen if history.model == self.calibration.id else ()
        eligible = self.calibration.bound(assessment.score) <= 0.05 or assessment.bound <= 0.05
        return Observations(
            self.calibration.id, (*kept, Observation(assessment.score, same, eligible))[-keep:]
        )

    def _read(self, pool: Observations | None) -> Pool:
        if pool is None or pool.model != self.calibration.id:
            pool = _NO_LABELS
        known = self._pools.pop(id(pool), None)
        if known is None:
            known = pool, Pool.of(pool)
        self._pools[id(pool)] = known
        if len(self._pools) > _POOLS:
            self._pools.popitem(last=False)
        return known[1]

    def _shifted(self, score: float, history: Observations, labels: Pool) -> tuple[float, float]:
        """Return mean log-odds, and the score at which the ladder is read.

        The ladder knows the uncertainty of a scope and an entry without labels; what is read is the score
        plus what the labels changed of the lower log-odds.
        """
        own = history.seen if history.model == self.calibration.id else ()
        scope = labels.scope
        entry = entry_shift(own, scope)
        mean = score + scope.mean + entry.mean
        sd = (scope.sd**2 + entry.sd**2) ** 0.5
        before = lower_log_odds(score, (SCOPE_SD**2 + ENTRY_SD**2) ** 0.5)
        return mean, score + lower_log_odds(mean, sd) - before


def _chance(seed: bytes) -> float:
    return int.from_bytes(seed[:8], "big") / 2**64


def _why(verdicts: tuple[Assessment, ...]) -> str:
    if not verdicts:
        return "nothing near"
    last = verdicts[0].gates[-1]
    return last.gate if not last.passed else "abstained"
