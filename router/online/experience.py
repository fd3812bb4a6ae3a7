"""All that one route has learned, in one process: outcomes, what follows from them, and what has changed.

It belongs to one thread, except that `fit` may run in another: it reads a copy and returns what `believe`
then takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from router.after.confidence import Confidence
from router.after.signs import AnswerSigns
from router.online.belief import Learned, TierBelief, learn_tier
from router.online.drift import Drift
from router.online.tried import Tried
from router.online.usual import Usual
from router.policy.knob import Knob, Quality

ROWS = 1_000
"""Outcomes of one tenant and tier that count; the oldest go first."""
MOST_ROWS = 4_000
"""Of all tenants, for one tier; whoever has most loses his oldest."""
_CONFIDENCE = 0.90
_REFIT = 25
_WINDOW = 200
_IDS = 20_000
"""Outcomes that are known again should they come back from the store."""


@dataclass(frozen=True, slots=True)
class Work:
    """A copy of what `fit` needs."""

    rows: Mapping[str, Sequence[Tried]]
    since: Mapping[str, float]
    """For tiers that have had an alarm, when."""


class Experience:
    """Of a route with the tiers `names`, small ones first; of the last one nothing has to be learned."""

    def __init__(self, names: Sequence[str], knob: Knob, prior: Confidence | None) -> None:
        self.small, self.last = tuple(names[:-1]), names[-1]
        self.knob = knob
        self._prior = prior
        self._rows: dict[str, dict[str, deque[Tried]]] = {name: {} for name in self.small}
        self._ids: dict[str, None] = {}
        self.usual = {name: Usual() for name in names}
        self.alarms: dict[str, str] = {}
        """Tiers that are not trusted any more, and why."""
        self._since: dict[str, float] = {}
        self.scores: dict[str, deque[float]] = {name: deque(maxlen=_WINDOW) for name in self.small}
        """Of the last answers that were judged, by the model of now: a budget's threshold is among them."""
        self._judged: dict[str, deque[AnswerSigns]] = {name: deque(maxlen=_WINDOW) for name in self.small}
        self._new = 0
        self._beliefs = fit(Work(dict.fromkeys(self.small, ()), {}), knob, prior)
        self._drift = {name: self._watch(belief.route) for name, belief in self._beliefs.items()}

    def believes(self, tenant: str, name: str) -> TierBelief:
        """Return what is believed of a tier for a tenant."""
        return self._beliefs[name].of(tenant)

    def count(self, name: str) -> int:
        """Return how many outcomes of a tier count."""
        return sum(map(len, self._rows[name].values()))

    def judged(self, name: str, belief: TierBelief, signs: AnswerSigns) -> str | None:
        """Take note of an answer that was judged; returns why that raises an alarm, if it does."""
        if belief.confidence is not None and signs.broken is None:
            self._judged[name].append(signs)
            self.scores[name].append(belief.confidence.model.score(signs.values))
        if name in self.alarms or not self._vouches(name):
            return None
        return self._drift[name].judged(signs)

    def recall(self, tried: Iterable[Tried]) -> None:
        """Take outcomes of before this experience began: they are learned from, and raise no alarm.

        They were kept under beliefs that are only learned anew from them; until then those of now would take
        what was right then for a change.
        """
        for one in tried:
            self._take(one)

    def add(self, tried: Iterable[Tried]) -> dict[str, str]:
        """Take outcomes, those that are here already excepted; returns tiers for which they raise an alarm,
        and why."""
        found = {}
        for one in tried:
            if not self._take(one):
                continue
            watched = one.kept and one.tier not in self.alarms and self._vouches(one.tier)
            if watched and (why := self._drift[one.tier].compared(agrees=one.agrees)) is not None:
                found[one.tier] = why
        return found

    def _take(self, one: Tried) -> bool:
        """Return whether an outcome is news, and counts."""
        if one.id in self._ids or one.tier not in self._rows or one.last not in ("", self.last):
            return False
        self._ids[one.id] = None
        if len(self._ids) > _IDS:
            del self._ids[next(iter(self._ids))]
        if one.at <= self._since.get(one.tier, -1.0):
            return False
        self._rows[one.tier].setdefault(one.tenant, deque(maxlen=ROWS)).append(one)
        self._make_room(one.tier)
        self._new += 1
        return True

    def alarm(self, name: str, why: str, at: float) -> bool:
        """Trust a tier no longer: only outcomes after this Unix time can vouch for it again.

        Returns whether that is news.
        """
        if name not in self._rows or at <= self._since.get(name, -1.0):
            return False
        self.alarms[name] = why
        self._since[name] = at
        for held in self._rows[name].values():
            fresh = [one for one in held if one.at > at]
            held.clear()
            held.extend(fresh)
        self._beliefs[name] = Learned(TierBelief(confidence=self._beliefs[name].route.confidence), {})
        return True

    @property
    def due(self) -> bool:
        """Enough is new to learn anew: each outcome then costs the same, however many there are."""
        rows = sum(self.count(name) for name in self.small)
        return self._new >= max(_REFIT, rows // 10)

    def work(self) -> Work:
        """Return a copy of what there is to learn from."""
        self._new = 0
        rows = {
            name: sorted((one for held in by.values() for one in held), key=lambda one: one.at)
            for name, by in self._rows.items()
        }
        return Work(rows, dict(self._since))

    def believe(self, work: Work, beliefs: Mapping[str, Learned]) -> list[str]:
        """Take over what was learned; returns the tiers whose alarm is over, since fresh outcomes vouch for
        them."""
        over = []
        for name, belief in beliefs.items():
            if self._since.get(name) != work.since.get(name):
                # An alarm was raised while `fit` ran.
                continue
            if belief.route.confidence is not None:
                score = belief.route.confidence.model.score
                self.scores[name] = deque(
                    (score(signs.values) for signs in self._judged[name]), maxlen=_WINDOW
                )
            if name not in self.alarms:
                self._beliefs[name] = belief
                self._drift[name].trust(belief.route)
            elif belief.route.vouched or (
                not isinstance(self.knob, Quality) and belief.route.outcomes >= _REFIT
            ):
                self._beliefs[name] = belief
                del self.alarms[name]
                self._drift[name] = self._watch(belief.route)
                over.append(name)
        return over

    def _watch(self, belief: TierBelief) -> Drift:
        return Drift(belief, promised=isinstance(self.knob, Quality))

    def _vouches(self, name: str) -> bool:
        return self._beliefs[name].route.vouched or not isinstance(self.knob, Quality)

    def _make_room(self, tier: str) -> None:
        by = self._rows[tier]
        if self.count(tier) > MOST_ROWS:
            most = max(by.values(), key=len)
            most.popleft()


def fit(work: Work, knob: Knob, prior: Confidence | None) -> dict[str, Learned]:
    """Return what the outcomes teach, by tier. Takes up to some tenths of a second of CPU.

    What may be wrong is shared out evenly among the tiers, and so is the doubt: then all of them together
    keep the promise.
    """
    allowed, doubt = None, 1 - _CONFIDENCE
    if isinstance(knob, Quality):
        allowed = knob.allowed / len(work.rows)
        doubt /= len(work.rows)
    found = {}
    for name, rows in work.rows.items():
        found[name] = learn_tier(rows, prior, allowed, 1 - doubt, fresh=name in work.since)
    return found
