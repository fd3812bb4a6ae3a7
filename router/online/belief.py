"""What is believed of a smaller tier: how right it is, which of its answers may be kept, and who says so.

Everything is drawn together from three sources. The shipped prior is where the scores start from; the route's
outcomes, of all tenants, say what scores mean; a tenant's own outcomes shift that, as if `_STRENGTH` outcomes
like the route's had come before them. What may be kept needs more than a belief: `router.online.vouch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, sqrt

from router.after.confidence import Confidence, Judgement
from router.after.signs import AnswerSigns
from router.isotonic import fit_isotonic
from router.logistic import Logistic, sigmoid
from router.online.logistic import fit_online
from router.online.tried import Tried
from router.online.vouch import LEAST, score_at, vouch

NEVER = float("inf")
_BLOCK = 20
_FOLDS = 3
_STRENGTH = 20.0
_USUAL_SHARE = 0.2
"""How much of a tier's answers is thought to stand as long as nobody knows."""
_LEAST_PROBABILITY = 0.5
_FEW = 20
"""Outcomes below which a share or a mean is not worth believing."""


@dataclass(frozen=True, slots=True)
class TierBelief:
    """What is believed of one tier, for one tenant."""

    outcomes: int = 0
    quality: float = 0.5
    """Share of its answers that say what the last tier's do."""
    confidence: Confidence | None = None
    keep_from: float = NEVER
    """Score from which on an answer may be kept."""
    least: float = 0.0
    """Probability below which it may not, whatever its score."""
    shift: float = 0.0
    """What a tenant's own outcomes add to the log odds."""
    ends: float = 0.0
    """Share of its answers that may be kept."""
    ends_quality: float = 1.0
    """How often those are right."""
    query: Logistic | None = None
    """P(right) from the query, if that is better than the mean; None if not."""
    by: str = "nothing vouches for its answers yet"

    @property
    def vouched(self) -> bool:
        """Any of its answers may be kept."""
        return self.keep_from < NEVER

    @property
    def error(self) -> float:
        """The standard error of `quality`."""
        return sqrt(self.quality * (1 - self.quality) / max(1, self.outcomes))

    @property
    def edge(self) -> float:
        """The probability of the least answer that may be kept."""
        if self.confidence is None or not -NEVER < self.keep_from < NEVER:
            return self.least
        return max(self.least, min(1.0, max(0.0, self.confidence.calibration(self.keep_from))))

    def judge(self, signs: AnswerSigns) -> tuple[Judgement, bool]:
        """Return what an answer is thought to be, and whether it may be kept."""
        if self.confidence is None:
            broken = signs.broken is not None
            return Judgement(0.0 if broken else self.quality, "not judged"), False
        judged = self.confidence.judge(signs)
        if signs.broken is not None:
            return judged, False
        if self.shift:
            moved = self.moved(judged.probability)
            was, now = f"{judged.probability:.2f}", f"{moved:.2f} to this tenant"
            judged = Judgement(moved, judged.reason.replace(was, now, 1))
        score = self.confidence.model.score(signs.values)
        return judged, score >= self.keep_from and judged.probability >= self.least

    def moved(self, probability: float) -> float:
        """Return what a probability comes to for this tenant."""
        return sigmoid(_odds(probability) + self.shift) if self.shift else probability

    def quality_for(self, query: Mapping[str, float]) -> float:
        """Return P(right) of a request that it has not answered yet."""
        if self.query is None:
            return self.quality
        return self.query.probability(query)

    def ends_for(self, quality: float) -> float:
        """Return P(its answer may be kept), given P(right): likelier as far as being right is."""
        if not 0 < self.ends < 1:
            return self.ends
        return sigmoid(_odds(self.ends) + _odds(quality) - _odds(self.quality))


@dataclass(frozen=True, slots=True)
class Learned:
    """One tier's beliefs of one route: for everybody, and for tenants with outcomes of their own."""

    route: TierBelief
    tenants: dict[str, TierBelief]

    def of(self, tenant: str) -> TierBelief:
        """Return what is believed for a tenant."""
        return self.tenants.get(tenant, self.route)


def learn_tier(
    rows: Sequence[Tried], prior: Confidence | None, allowed: float | None, confidence: float, *, fresh: bool
) -> Learned:
    """Return what follows from the outcomes of one tier.

    `allowed` is the share of requests that may be kept and wrong; None where quality is not what was asked
    for. `fresh` says that the outcomes are those since an alarm, when a prior is no longer believed.
    """
    if len(rows) < _FEW:
        early = _early(rows, prior, None if fresh else allowed)
        return Learned(early, {})
    anchor = None if prior is None else prior.model
    table = _Table.of(rows, anchor)
    belief = table.belief()
    if allowed is not None:
        belief = table.vouched(belief, list(range(len(rows))), allowed, confidence)
        if not belief.vouched and len(rows) < LEAST and not fresh:
            belief = _early(rows, prior, allowed)
    tenants = {}
    for tenant in {row.tenant for row in rows}:
        own = [place for place, row in enumerate(rows) if row.tenant == tenant]
        tenants[tenant] = table.for_tenant(belief, own, allowed, confidence)
    return Learned(belief, tenants)


def strictest(allowed: float) -> float:
    """Return the probability from which on the prior alone is believed: half of what is allowed to be
    wrong."""
    return 1 - allowed / 2


def _early(rows: Sequence[Tried], prior: Confidence | None, allowed: float | None) -> TierBelief:
    """Return the belief of a tier with few outcomes: the prior's, as long as they do not speak against it."""
    weight = sum(row.weight for row in rows)
    right = sum(row.weight * row.agrees for row in rows)
    belief = TierBelief(len(rows), (right + 0.5 * _STRENGTH) / (weight + _STRENGTH), prior)
    if prior is None or allowed is None:
        return belief
    least = strictest(allowed)
    if max(prior.calibration.values) < least:
        return replace(belief, by=f"{_not_yet(len(rows))}, and the prior is sure enough of none")
    judged = [(prior.judge(row.signs).probability >= least, row) for row in rows]
    kept = [row for keeps, row in judged if keeps]
    wrong = sum(not row.agrees for row in kept)
    if wrong > allowed * max(len(kept), 1 / allowed):
        return replace(belief, by="the prior has been wrong here, and nothing else vouches yet")
    ends = _USUAL_SHARE
    if len(rows) >= _FEW:
        ends = sum(row.weight for row in kept) / weight
    return replace(
        belief, keep_from=-NEVER, least=least, ends=ends, ends_quality=least, by="the prior alone vouches"
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """Outcomes with their scores: by models that had not seen them, and by the one that decides."""

    rows: Sequence[Tried]
    agrees: list[bool]
    weights: list[float]
    unseen: list[float]
    own: list[float]
    confidence: Confidence
    judged: list[float]
    """Calibrated probabilities of the unseen scores."""

    @classmethod
    def of(cls, rows: Sequence[Tried], anchor: Logistic | None) -> _Table:
        sound = [place for place, row in enumerate(rows) if row.signs.broken is None]
        signs, agrees = [row.signs.values for row in rows], [row.agrees for row in rows]
        weights = [row.weight for row in rows]
        model = fit_online([signs[place] for place in sound], [agrees[place] for place in sound], anchor)
        unseen = [-NEVER] * len(rows)
        for fold in range(_FOLDS):
            seen = [place for place in sound if place % _FOLDS != fold]
            other = fit_online([signs[place] for place in seen], [agrees[place] for place in seen], anchor)
            for place in sound:
                if place % _FOLDS == fold:
                    unseen[place] = other.score(signs[place])
        own = [-NEVER if row.signs.broken is not None else model.score(row.signs.values) for row in rows]
        calibration = fit_isotonic(
            [unseen[place] for place in sound] or [0.0],
            [agrees[place] for place in sound] or [0.5],
            _BLOCK,
            [weights[place] for place in sound] or None,
        )
        judged = [0.0 if score == -NEVER else calibration(score) for score in unseen]
        return cls(rows, agrees, weights, unseen, own, Confidence(model, calibration), judged)

    def belief(self) -> TierBelief:
        """Return what all outcomes say, with nothing kept yet."""
        return TierBelief(
            len(self.rows),
            _share(self.agrees, self.weights, range(len(self.rows))),
            self.confidence,
            query=_query_model(self.rows),
        )

    def vouched(self, belief: TierBelief, places: list[int], allowed: float, confidence: float) -> TierBelief:
        """Return the belief with what these outcomes allow to keep."""
        weights = [self.weights[place] for place in places]
        found = vouch(
            [self.unseen[place] for place in places],
            [self.agrees[place] for place in places],
            weights,
            allowed,
            confidence,
        )
        if found is None:
            return replace(belief, keep_from=NEVER, ends=0.0, by=_not_yet(len(places)))
        # Models of the folds have different zeros: only the share is taken from them, and the threshold is
        # where the model that decides has that share.
        keep_from = max(score_at([self.own[place] for place in places], weights, found.share), -1e300)
        # Whatever the promise leaves room for: nobody wants what is more likely wrong than right.
        least = max(belief.least, _LEAST_PROBABILITY)
        kept = [
            place
            for place in places
            if self.own[place] >= keep_from
            and belief.moved(self.confidence.calibration(self.own[place])) >= least
        ]
        if not kept:
            return replace(belief, keep_from=NEVER, ends=0.0, by=_not_yet(len(places)))
        return replace(
            belief,
            keep_from=keep_from,
            least=least,
            ends=sum(self.weights[place] for place in kept) / sum(weights),
            ends_quality=_share(self.agrees, self.weights, kept),
            by=f"{len(places)} outcomes vouch that at most {found.loss:.1%} are kept and wrong",
        )

    def for_tenant(
        self, belief: TierBelief, places: list[int], allowed: float | None, confidence: float
    ) -> TierBelief:
        """Return the belief for the tenant whose outcomes these are.

        With enough of them they decide alone what may be kept; fewer may only make it stricter.
        """
        weight = sum(self.weights[place] for place in places)
        right = sum(self.weights[place] * self.agrees[place] for place in places)
        usual = sum(self.weights[place] * self.judged[place] for place in places) / weight
        # Shadowed outcomes weigh more than they tell: the drawing is by their number.
        drawn = (len(places) * right / weight + _STRENGTH * usual) / (len(places) + _STRENGTH)
        shift = _odds(drawn) - _odds(usual)
        own = replace(belief, shift=shift, quality=sigmoid(_odds(belief.quality) + shift))
        if allowed is None:
            return own
        if len(places) >= LEAST:
            return self.vouched(own, places, allowed, confidence)
        if shift >= 0 or not belief.vouched:
            return replace(belief, quality=own.quality)
        return replace(own, least=belief.edge)


def _query_model(rows: Sequence[Tried]) -> Logistic | None:
    """Return the model of queries if it tells more than the mean does: by two standard errors on rows that
    it had not seen."""
    if len(rows) < LEAST:
        return None
    gains = []
    for fold in range(_FOLDS):
        seen = [row for place, row in enumerate(rows) if place % _FOLDS != fold]
        rest = [row for place, row in enumerate(rows) if place % _FOLDS == fold]
        model = fit_online([row.query for row in seen], [row.agrees for row in seen])
        mean = _share([row.agrees for row in seen], [1.0] * len(seen), range(len(seen)))
        mean = min(0.99, max(0.01, mean))
        for row in rest:
            p = min(0.99, max(0.01, model.probability(row.query)))
            gains.append(log(p / mean) if row.agrees else log((1 - p) / (1 - mean)))
    mean = sum(gains) / len(gains)
    error = (sum((gain - mean) ** 2 for gain in gains) / len(gains) / len(gains)) ** 0.5
    if mean <= 2 * error:
        return None
    return fit_online([row.query for row in rows], [row.agrees for row in rows])


def _share(agrees: Sequence[bool], weights: Sequence[float], places: Sequence[int]) -> float:
    total = sum(weights[place] for place in places)
    return sum(weights[place] * agrees[place] for place in places) / total


def _not_yet(count: int) -> str:
    if count < LEAST:
        return f"nothing vouches for its answers yet: {count} outcomes of {LEAST}"
    return f"{count} outcomes do not vouch for any of its answers"


def _odds(probability: float) -> float:
    p = min(0.999, max(0.001, probability))
    return log(p / (1 - p))


def _times(a: float, b: float) -> float:
    return a * b
