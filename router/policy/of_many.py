"""The policy of a route that learns: one to eight tiers, under a knob.

A smaller tier's answer is only ever kept if the outcomes (or, at first, the prior) vouch for it; among what
that leaves, the cascade rule says which tier to run next. The last tier is the measure: its quality is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot

from router.after.signs import AnswerSigns
from router.online.belief import TierBelief
from router.online.experience import Experience
from router.online.usual import Usual
from router.policy.base import Choice, Facts
from router.policy.cascade import Estimate, next_step
from router.policy.dominance import TierRecord, dominated
from router.policy.escalation import escalate_share
from router.policy.knob import Budget, Latency, Quality, kept_share

_UNSEEN = Usual(0, 500.0, 250.0)
"""What a call takes as long as none has been seen of any tier."""
_SECONDS = 1.0
_ENOUGH = 30
"""Outcomes from which on a tier's quality is compared with another's."""
_DOUBT = 1.645
"""Standard errors by which a tier has to be worse than another to be taken as worse."""
_NEARLY_ALL = 0.98
OnDrift = Callable[[str, str], None]
"""Told a tier and why it is not what it was."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A tier and its price; US dollars for a token."""

    name: str
    input: float | None = None
    output: float | None = None
    cache_read: float | None = None


class OfMany:
    """Decides by what a route has learned."""

    def __init__(
        self, tiers: Sequence[Terms], experience: Experience, on_drift: OnDrift = lambda tier, why: None
    ) -> None:
        self._tiers = tuple(tiers)
        self._experience = experience
        self._on_drift = on_drift
        self._last = len(tiers) - 1
        # Where nothing costs anything, time is what is left to save.
        prices = [price for tier in tiers for price in (tier.input, tier.output)]
        self._priced = None not in prices and any(prices)

    def first(self, facts: Facts) -> Choice:
        if not facts.judgeable:
            return self._unjudged(facts)
        return self._next(facts, -1)

    def after(self, facts: Facts, heard: Mapping[int, AnswerSigns]) -> Choice:
        latest = list(heard)[-1]
        name = self._tiers[latest].name
        if latest == _last_able(facts):
            return Choice(latest, f"{name}: no other model can take the request")
        belief = self._experience.believes(facts.tenant, name)
        judgement, vouched = belief.judge(heard[latest])
        kept, why = self._keeps(name, belief, heard[latest], vouched, facts)
        if (changed := self._experience.judged(name, belief, heard[latest])) is not None:
            self._on_drift(name, changed)
        reason = f"{name}: {judgement.reason}; {why}"
        if kept:
            return Choice(latest, reason)
        choice = self._next(facts, max(heard))
        return Choice(choice.tier, f"{reason}; {choice.reason}", choice.judged)

    def costs(self, facts: Facts) -> list[float]:
        """Return what a call of each tier takes: seconds if time is what counts or prices are not known, else
        US dollars."""
        if isinstance(self._experience.knob, Latency) or not self._priced:
            return self._seconds()
        return self._usd(facts)

    def _unjudged(self, facts: Facts) -> Choice:
        """Choose where no answer can be taken back: a tier of which nearly any answer would be kept."""
        last = _last_able(facts)
        if isinstance(self._experience.knob, Quality):
            for at in range(last):
                belief = self._experience.believes(facts.tenant, self._tiers[at].name)
                quality = belief.quality_for(facts.query.signs)
                if facts.able[at] and belief.vouched and belief.ends_for(quality) >= _NEARLY_ALL:
                    return Choice(at, f"{self._tiers[at].name}: nearly any answer would be kept; {belief.by}")
        return Choice(last, f"{self._tiers[last].name}: no other answer could be taken back")

    def _next(self, facts: Facts, after: int) -> Choice:
        """Choose among the tiers behind the one at `after`."""
        costs = self.costs(facts)
        last = _last_able(facts)
        beliefs = [self._experience.believes(facts.tenant, tier.name) for tier in self._tiers[: self._last]]
        passed = self._passed_over(beliefs, costs)
        left = [at for at in range(after + 1, last) if facts.able[at] and at not in passed]
        if not left:
            skipped = next((why for at, why in passed.items() if after < at < last), "")
            return Choice(last, self._why_last(last, skipped, facts, after))
        if not isinstance(self._experience.knob, Quality):
            name = self._tiers[left[0]].name
            return Choice(left[0], f"{name} next, as {self._asked()} asks", judged=True)
        edges = [beliefs[at].edge for at in left]
        # The price of quality at which the least answer that may be kept is worth keeping, and no other.
        usd_per_quality = costs[last] / max(0.001, 1 - min(edges))
        estimates = {str(last): Estimate(1.0, 0.0, costs[last])}
        for at in left:
            quality = beliefs[at].quality_for(facts.query.signs)
            ends = beliefs[at].ends_for(quality)
            # Without uncertainty: an answer that was not kept is never the better one of two.
            estimates[str(at)] = Estimate(quality, 0.0, costs[at], ends)
        # What has run is not among them: an answer that may not be kept cannot be the best.
        step = next_step(estimates, (), usd_per_quality)
        assert step.run is not None
        chosen = int(step.run)
        if chosen == last:
            at = left[0]
            ends = estimates[str(at)].ends
            return Choice(
                last,
                f"{self._tiers[last].name} at once: {self._tiers[at].name} would be escalated with "
                f"probability {1 - ends:.2f} and costs {costs[at] / max(costs[last], 1e-12):.2f} of it",
            )
        return Choice(
            chosen,
            f"{self._tiers[chosen].name} next: right with probability {estimates[step.run].quality:.2f}, "
            f"kept with {estimates[step.run].ends:.2f}; {beliefs[chosen].by}",
            judged=True,
        )

    def _keeps(
        self, name: str, belief: TierBelief, signs: AnswerSigns, vouched: bool, facts: Facts
    ) -> tuple[bool, str]:
        knob = self._experience.knob
        if isinstance(knob, Quality):
            return vouched, f"{'kept' if vouched else 'not kept'}, {belief.by}"
        if signs.broken is not None:
            return False, "not kept"
        share = kept_share(self.costs(facts), _most(knob))
        scores = self._experience.scores[name]
        if belief.confidence is None or len(scores) < _ENOUGH:
            kept = facts.draw < share
            return kept, f"by lot, as {self._asked()} asks that {share:.0%} be kept"
        escalation = escalate_share([-score for score in scores], 1 - share)
        kept = not escalation.escalates(-belief.confidence.model.score(signs.values), facts.draw)
        return kept, f"{'kept' if kept else 'not kept'}, as {self._asked()} asks that {share:.0%} be"

    def _passed_over(self, beliefs: Sequence[TierBelief], costs: Sequence[float]) -> dict[int, str]:
        """Return the tiers that are not to be asked now, and why."""
        found = {}
        knob = self._experience.knob
        last = self._tiers[self._last].name
        worse = self._dominated(beliefs, costs)
        for at, belief in enumerate(beliefs):
            name = self._tiers[at].name
            if (why := self._experience.alarms.get(name)) is not None:
                found[at] = f"{name} is passed over: {why}"
            elif name in worse:
                found[at] = f"{name} costs no less than {worse[name]} and is no better"
            elif isinstance(knob, Quality) and not belief.vouched:
                found[at] = f"{name} is passed over: {belief.by}"
        if not isinstance(knob, Quality) and costs[self._last] <= _most(knob):
            for at in range(self._last):
                found.setdefault(at, f"{self._asked()} allows {last} for everything")
        return found

    def _dominated(self, beliefs: Sequence[TierBelief], costs: Sequence[float]) -> dict[str, str]:
        """Return tiers that cost more than another and are no better, each with the other."""
        usual = self._experience.usual
        if not self._priced and any(usual[tier.name].calls < _ENOUGH for tier in self._tiers):
            return {}
        last = self._tiers[self._last].name
        found = {}
        for at, belief in enumerate(beliefs):
            name, others = self._tiers[at].name, [(last, 1.0, 0.0, costs[self._last])]
            if belief.outcomes >= _ENOUGH:
                others += [
                    (self._tiers[other].name, of.quality, of.error, costs[other])
                    for other, of in enumerate(beliefs)
                    if other != at and of.outcomes >= _ENOUGH
                ]
            # Of a tier that is not known yet only this is: it is no better than the last one.
            quality = belief.quality if belief.outcomes >= _ENOUGH else 1.0
            for other, good, error, cost in others:
                doubt = _DOUBT * hypot(belief.error, error)
                records = {
                    name: TierRecord(min(1.0, quality + doubt), costs[at]),
                    other: TierRecord(good, cost),
                }
                if name in dominated(records) or (other == last and costs[at] >= cost):
                    found[name] = other
                    break
        return found

    def _why_last(self, last: int, skipped: str, facts: Facts, after: int) -> str:
        name = self._tiers[last].name
        if not skipped and not all(facts.able[after + 1 : last]):
            skipped = "the smaller models cannot take the request"
        return f"{name}: {skipped}" if skipped else f"{name} answers"

    def _asked(self) -> str:
        knob = self._experience.knob
        match knob:
            case Budget():
                return f"a budget of ${knob.usd:g} a request"
            case Latency():
                return f"a mean of {knob.seconds:g} s"
            case Quality():
                return f"a quality of {knob.share:g}"

    def _usd(self, facts: Facts) -> list[float]:
        found = []
        seen = [usual for usual in self._experience.usual.values() if usual.calls]
        # A tier that has not been called yet is taken to use as many tokens as the others do.
        others = max(seen, key=lambda usual: usual.output_tokens, default=_UNSEEN)
        # A budget is a mean, so what is usual counts; else the request itself does.
        by_mean = isinstance(self._experience.knob, Budget) and bool(seen)
        for at, tier in enumerate(self._tiers):
            usual = self._experience.usual[tier.name]
            usual = usual if usual.calls else others
            output = usual.output_tokens
            tokens = usual.input_tokens if by_mean or not facts.tokens else facts.tokens
            warm = facts.warm.get(at, 0.0)
            price = tier.input or 0.0
            read = price if tier.cache_read is None else tier.cache_read
            found.append(tokens * (warm * read + (1 - warm) * price) + output * (tier.output or 0.0))
        return found

    def _seconds(self) -> list[float]:
        """Return what calls take; one that has not been made yet, a second more than those before it."""
        found: list[float] = []
        for tier in self._tiers:
            usual = self._experience.usual[tier.name]
            found.append(usual.seconds if usual.calls else max(found, default=0.0) + _SECONDS)
        return found


def _last_able(facts: Facts) -> int:
    """Return the last tier that can take the request: it is the measure of the others there."""
    return max(at for at, can in enumerate(facts.able) if can)


def _most(knob: Budget | Latency) -> float:
    return knob.usd if isinstance(knob, Budget) else knob.seconds
