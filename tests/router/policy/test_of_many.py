"""A route that learns: which tier is asked, which answer stands, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.after.confidence import Confidence
from router.after.signs import AnswerSigns
from router.before.query import Query
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight
from router.online.experience import Experience, fit
from router.online.tried import Tried
from router.policy.base import Choice, Facts
from router.policy.knob import Budget, Knob, Latency, Quality, kept_share
from router.policy.of_many import OfMany, Terms
from tests.router.online.made import outcomes

SMALL, MIDDLE, LARGE = Terms("small", 1e-6, 2e-6), Terms("middle", 3e-6, 6e-6), Terms("large", 1e-5, 2e-5)
SURE, UNSURE = AnswerSigns({"sure": 0.97}, None, ()), AnswerSigns({"sure": 0.05}, None, ())
QUALITY = Quality(0.95)
BROKEN = AnswerSigns({"sure": 0.97}, "looping", ())
PRIOR = Confidence(
    Logistic(0.0, {"sure": Weight(2.0, 0.5, 0.3)}), Isotonic((-3.0, 0.0, 2.0, 3.0), (0.05, 0.5, 0.9, 0.99))
)


class Route:
    """A route, and what happens to it."""

    def __init__(
        self,
        tiers: Sequence[Terms] = (SMALL, LARGE),
        knob: Knob = QUALITY,
        prior: Confidence | None = None,
    ) -> None:
        self.experience = Experience([tier.name for tier in tiers], knob, prior)
        self.alarms: list[tuple[str, str]] = []
        self.policy = OfMany(tiers, self.experience, lambda tier, why: self.alarms.append((tier, why)))
        self._prior = prior
        self._count = len(tiers)

    def learn(self, rows: Sequence[Tried]) -> Route:
        self.experience.add(rows)
        work = self.experience.work()
        self.experience.believe(work, fit(work, self.experience.knob, self._prior))
        return self

    def took(self, name: str, seconds: float, calls: int = 40) -> Route:
        for _ in range(calls):
            self.experience.usual[name].take(500, 250, seconds)
        return self

    def facts(self, **more: object) -> Facts:
        given: dict[str, object] = {"able": (True,) * self._count, "tenant": "ada", "draw": 0.5, **more}
        return Facts(Query(None, {"length": 0.5}), **given)  # type: ignore[arg-type]

    def first(self, **more: object) -> Choice:
        return self.policy.first(self.facts(**more))

    def after(self, signs: AnswerSigns, tier: int = 0, **more: object) -> Choice:
        return self.policy.after(self.facts(**more), {tier: signs})


def good(sure: float) -> float:
    return float(sure > 0.4)


def better(sure: float) -> float:
    return float(sure > 0.1)


def learned(tiers: Sequence[Terms] = (SMALL, LARGE), knob: Knob = QUALITY) -> Route:
    route = Route(tiers, knob)
    for tier in tiers[:-1]:
        right = better if tier.name == "middle" else good
        route.learn(outcomes(300, tier=tier.name, right=right, noise=0.02))
    return route


def test_at_first_the_last_tier_answers_everything() -> None:
    choice = Route().first()

    assert choice.tier == 1 and not choice.judged
    assert "nothing vouches for its answers yet" in choice.reason


def test_a_prior_lets_the_small_tier_try_and_keeps_what_it_is_sure_of() -> None:
    route = Route(prior=PRIOR)

    assert route.first().tier == 0 and route.first().judged
    assert route.after(SURE).tier == 0
    assert route.after(UNSURE).tier == 1
    assert "the prior alone vouches" in route.after(SURE).reason


def test_a_prior_that_is_never_sure_enough_lets_no_tier_try() -> None:
    """Each of its answers would be escalated."""
    humble = replace(PRIOR, calibration=Isotonic((-3.0, 3.0), (0.05, 0.955)))

    choice = Route(prior=humble).first()
    assert choice.tier == 1 and "the prior is sure enough of none" in choice.reason
    assert Route(prior=humble, knob=Quality(0.9)).first().tier == 0


def test_outcomes_say_which_answers_stand() -> None:
    route = learned()

    assert route.first().tier == 0 and "300 outcomes vouch" in route.first().reason
    kept = route.after(SURE)
    assert kept.tier == 0 and "kept, 300 outcomes vouch that at most" in kept.reason
    assert route.after(UNSURE).tier == 1
    assert route.after(BROKEN).tier == 1 and "repeating itself" in route.after(BROKEN).reason
    assert "\n" not in kept.reason


def test_what_cannot_be_taken_back_goes_to_the_last_tier() -> None:
    assert learned().first(judgeable=False).tier == 1


def test_it_goes_to_a_small_one_of_which_nearly_any_answer_would_be_kept() -> None:
    route = Route().learn(outcomes(600, right=lambda sure: 0.995))

    choice = route.first(judgeable=False)
    assert choice.tier == 0 and not choice.judged
    assert "nearly any answer would be kept" in choice.reason


def test_where_the_last_tier_is_not_able_the_largest_that_is_answers() -> None:
    route = learned((SMALL, MIDDLE, LARGE))

    assert route.first(able=(False, True, False)).tier == 1
    assert route.after(UNSURE, tier=1, able=(False, True, False)).tier == 1
    assert route.after(UNSURE, able=(True, True, False)).tier == 1


def test_a_tier_that_is_not_able_is_passed_over() -> None:
    route = learned((SMALL, MIDDLE, LARGE))

    assert route.first(able=(False, True, True)).tier == 1
    assert route.first(able=(False, False, True)).tier == 2


def test_where_escalation_is_likely_the_small_tier_is_not_asked() -> None:
    """Two of three answers are escalated, which pays for a tenth of the price and not for half of it."""
    dear = Terms("small", 6e-6, 1.2e-5)
    for small, first in ((SMALL, 0), (dear, 1)):
        route = Route((small, LARGE)).learn(outcomes(400, right=lambda sure: float(sure > 0.65), noise=0.01))
        assert 0.6 < 1 - route.experience.believes("ada", "small").ends < 0.7
        assert route.first().tier == first
    assert "would be escalated with probability 0.6" in route.first().reason


def test_three_tiers_are_tried_in_turn() -> None:
    route = learned((SMALL, MIDDLE, LARGE))

    assert route.first().tier == 0
    assert route.after(UNSURE).tier == 1
    heard = {0: UNSURE, 1: UNSURE}
    assert route.policy.after(route.facts(), heard).tier == 2
    assert route.policy.after(route.facts(), {0: UNSURE, 1: SURE}).tier == 1


def test_a_tier_without_outcomes_is_passed_over_by_name() -> None:
    route = Route((SMALL, MIDDLE, LARGE)).learn(outcomes(300, tier="middle", right=good, noise=0.02))

    assert route.first().tier == 1


def test_a_tier_that_costs_more_and_is_no_better_is_never_asked() -> None:
    dear = Terms("dear", 2e-5, 4e-5)
    route = Route((dear, LARGE)).learn(outcomes(300, tier="dear", right=lambda sure: 0.99))

    choice = route.first()
    assert choice.tier == 1
    assert choice.reason == "large: dear costs no less than large and is no better"


def test_of_two_small_tiers_the_worse_and_dearer_is_left_out() -> None:
    route = Route((SMALL, MIDDLE, LARGE))
    route.learn(outcomes(300, right=lambda sure: float(sure > 0.3), noise=0.02))
    route.learn(outcomes(300, tier="middle", right=lambda sure: float(sure > 0.5), noise=0.02))

    choice = route.after(UNSURE)
    assert choice.tier == 2
    assert "middle costs no less than small and is no better" in choice.reason


def test_where_nothing_costs_anything_time_is_what_is_saved() -> None:
    free = Terms("small", 0.0, 0.0), Terms("large", 0.0, 0.0)
    slow = learned(free).took("small", 2.0).took("large", 1.0)
    fast = learned(free).took("small", 0.1).took("large", 1.0)

    assert slow.first().tier == 1 and "costs no less than large" in slow.first().reason
    assert fast.first().tier == 0


def test_a_prefix_that_is_warm_makes_a_tier_cheaper() -> None:
    small, large = Terms("small", 4e-6, 0.0, 4e-6), Terms("large", 1e-5, 0.0, 1e-6)
    route = learned((small, large))

    assert route.first(tokens=1000).tier == 0
    assert route.first(tokens=1000, warm={1: 1.0}).tier == 1


def test_an_alarm_passes_a_tier_over_until_fresh_outcomes_vouch_again() -> None:
    route = learned()
    assert route.experience.alarm("small", "its answers are odd", 1_000.0)

    assert route.first().reason == "large: small is passed over: its answers are odd"
    assert route.after(SURE).tier == 1
    # What was learned before vouches for nothing any more, nor does more of it.
    route.learn(outcomes(300, right=good, noise=0.02, seed=4, start=500.0))
    assert route.first().tier == 1
    route.learn(outcomes(99, right=good, noise=0.02, seed=5, start=2_000.0))
    assert route.first().tier == 1
    route.learn(outcomes(60, right=good, noise=0.02, seed=6, start=3_000.0))
    assert route.first().tier == 0
    assert not route.experience.alarms


def test_an_alarm_is_news_once() -> None:
    route = learned()

    assert route.experience.alarm("small", "odd", 1_000.0)
    assert not route.experience.alarm("small", "odd", 1_000.0)
    assert not route.experience.alarm("another", "odd", 2_000.0)


def simulated(route: Route, sure: Sequence[float]) -> int | None:
    """Answer as many requests; returns after how many an alarm was raised."""
    for number, each in enumerate(sure):
        route.after(AnswerSigns({"sure": each, "odd": 0.0}, None, ()))
        if route.alarms:
            return number
    return None


def test_answers_that_get_less_sure_raise_an_alarm_and_the_same_ones_do_not() -> None:
    draw = random.Random(5)
    route = learned()
    usual = [draw.random() for _ in range(1200)]
    assert simulated(route, usual) is None
    found = simulated(route, [value * 0.5 for value in usual])
    assert found is not None and found < 250
    assert route.alarms[0][0] == "small"


def test_with_a_budget_escalations_and_errors_are_no_drift_but_confidence_is() -> None:
    draw = random.Random(5)
    route = Route((SMALL, LARGE), Budget(0.0046)).took("small", 0.5).took("large", 2.0).learn(outcomes(300))
    wrong = [Tried(f"w{n}", "ada", "small", 900.0 + n, {}, SURE, False, 50.0, kept=True) for n in range(10)]
    assert not route.experience.add(wrong)
    assert simulated(route, [draw.random() for _ in range(1200)]) is None
    assert simulated(route, [draw.random() * 0.4 for _ in range(600)]) is not None
    assert "PSI" in route.alarms[0][1]


def test_outcomes_of_kept_answers_that_are_wrong_raise_an_alarm() -> None:
    route = learned()
    wrong = [Tried(f"w{n}", "ada", "small", 900.0 + n, {}, SURE, False, 50.0, kept=True) for n in range(10)]

    assert "kept answers are wrong" in route.experience.add(wrong)["small"]


def test_outcomes_that_come_twice_count_once() -> None:
    route = Route()
    rows = outcomes(50)
    route.experience.add(rows)
    route.experience.add(rows)

    assert route.experience.count("small") == 50


@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=8), st.floats(0.001, 100))
def test_a_budget_is_kept_if_it_can_be_with_as_many_escalations_as_fit(
    each: list[float], most: float
) -> None:
    share = kept_share(each, most)

    def mean(share: float) -> float:
        return sum(cost * (1 - share) ** at for at, cost in enumerate(each))

    if each[-1] <= most:
        assert share == 0
    elif share < 1:
        assert mean(share) <= most
        assert share == 0 or mean(share - 0.01) > most
    else:
        assert mean(0.99) > most


@pytest.mark.parametrize("knob", [Budget(0.0046), Latency(1.5)])
def test_a_budget_or_a_time_keeps_the_share_that_fits(knob: Knob) -> None:
    """Calls cost 0.001 and 0.01 dollars, or take half a second and two: 0.64 or half of the answers stand."""
    route = Route((SMALL, LARGE), knob).took("small", 0.5).took("large", 2.0)
    draw, kept = random.Random(1), 0
    assert route.first().tier == 0
    route.learn(outcomes(300))
    for _ in range(600):
        sure = draw.random()
        choice = route.after(AnswerSigns({"sure": sure, "odd": 0.0}, None, ()), draw=draw.random())
        kept += choice.tier == 0
    assert kept / 600 == pytest.approx(0.64 if isinstance(knob, Budget) else 0.5, abs=0.06)
    assert route.after(BROKEN).tier == 1


@pytest.mark.parametrize("knob", [Budget(0.0046), Latency(1.5)])
def test_that_a_budget_or_a_time_keeps_a_share_is_no_drift(knob: Knob) -> None:
    """Nothing vouches for these answers, so neither their share nor how many are wrong was promised."""
    route = Route((SMALL, LARGE), knob).took("small", 0.5).took("large", 2.0)
    draw = random.Random(1)
    for one in outcomes(1000):
        kept = route.after(one.signs, draw=draw.random()).tier == 0
        route.alarms += route.experience.add([replace(one, kept=kept)]).items()
        if route.experience.due:
            route.learn([])
    assert route.alarms == []


def test_under_a_budget_answers_that_become_worse_raise_an_alarm() -> None:
    route = Route((SMALL, LARGE), Budget(0.0046)).learn(outcomes(300))
    worse = outcomes(40, seed=1, right=lambda sure: 0.0)

    assert "small" in route.experience.add([replace(one, kept=True) for one in worse])


def test_outcomes_vouch_for_nothing_beside_another_last_tier() -> None:
    rows = outcomes(300, right=good, noise=0.02)
    before, now = ([replace(one, last=last) for one in rows] for last in ("former", "large"))

    assert Route().learn(before).first().tier == 1
    assert Route().learn(now).first().tier == 0


def test_what_is_recalled_raises_no_alarm() -> None:
    """What was learned vouched for these answers; the prior, which is all there is at a start, would not."""

    def right(sure: float) -> float:
        return 0.97 if sure > 0.85 else 0.9 if sure > 0.5 else 0.2

    rows = outcomes(1000, right=right, noise=0.02)
    before = Route(prior=PRIOR).learn(rows).experience.believes("ada", "small")
    kept = [replace(one, kept=before.judge(one.signs)[1]) for one in rows]
    again = Route(prior=PRIOR)
    again.experience.recall(kept)

    assert again.learn(kept).experience.believes("ada", "small").by == before.by
    assert "small" in Route(prior=PRIOR).experience.add(kept)


def test_a_budget_that_the_last_tier_fits_asks_no_other() -> None:
    route = Route((SMALL, LARGE), Budget(1.0))

    assert route.first().reason == "large: a budget of $1 a request allows large for everything"


@settings(max_examples=50)
@given(st.data())
def test_a_request_always_comes_to_an_end_at_a_tier_that_can_take_it(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 5))
    tiers = [Terms(str(at), *(data.draw(st.floats(0, 1e-4)) for _ in range(2))) for at in range(count)]
    knob = data.draw(st.sampled_from([Quality(0.95), Budget(0.01), Latency(1.0)]))
    route = Route(tiers, knob, data.draw(st.sampled_from([None, PRIOR])))
    able = tuple(data.draw(st.booleans()) for _ in range(count))
    able = able if any(able) else (True,) * count
    last = max(at for at, can in enumerate(able) if can)
    facts = route.facts(able=able, judgeable=data.draw(st.booleans()), draw=data.draw(st.floats(0, 0.99)))
    choice, heard = route.policy.first(facts), {}
    while choice.tier not in heard and choice.tier != last:
        assert able[choice.tier] and choice.judged
        heard[choice.tier] = data.draw(st.sampled_from([SURE, UNSURE, BROKEN]))
        before, choice = choice, route.policy.after(facts, heard)
        assert choice.tier >= before.tier and choice.reason
    assert able[choice.tier]
    assert choice.tier == last or heard[choice.tier] is not BROKEN


@settings(max_examples=30)
@given(quality=st.floats(0.01, 0.99), sure=st.floats(0.5, 1.0), small=st.floats(0.01, 0.99))
def test_the_small_tier_is_asked_first_exactly_if_that_is_cheaper(
    quality: float, sure: float, small: float
) -> None:
    """Whatever is believed of its answers: what is not kept is paid for and never used."""
    route = Route([Terms("small", 1e-5 * small, 2e-5 * small), LARGE]).learn(
        outcomes(200, right=good, noise=0.02)
    )
    learned = route.experience.believes("ada", "small")
    belief = replace(learned, quality=quality, ends=quality, ends_quality=sure, query=None)
    route.experience.believes = lambda tenant, name: belief  # type: ignore[method-assign]
    cheaper = small + (1 - quality) < 1
    if abs(small - quality) > 1e-6:
        assert route.first().tier == (0 if cheaper else 1)
