"""What is believed of a tier follows from the prior, the route's outcomes and the tenant's, in that order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.after.confidence import Confidence
from router.after.signs import AnswerSigns
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight
from router.online.belief import TierBelief, learn_tier
from router.online.tried import Tried
from tests.router.online.made import outcomes

PRIOR = Confidence(
    Logistic(0.0, {"sure": Weight(2.0, 0.5, 0.3)}), Isotonic((-3.0, 0.0, 2.0, 3.0), (0.05, 0.5, 0.9, 0.99))
)
SURE, UNSURE = AnswerSigns({"sure": 1.0}, None, ()), AnswerSigns({"sure": 0.1}, None, ())
BROKEN = AnswerSigns({"sure": 1.0}, "cut", ())
ALLOWED = 0.06


def learn(rows: list[Tried], prior: Confidence | None = PRIOR, *, fresh: bool = False) -> TierBelief:
    return learn_tier(rows, prior, ALLOWED, 0.9, fresh=fresh).route


def keeps(belief: TierBelief, signs: AnswerSigns) -> bool:
    return belief.judge(signs)[1]


def test_with_no_outcomes_the_prior_vouches_for_what_it_is_very_sure_of() -> None:
    belief = learn([])

    assert keeps(belief, SURE) and not keeps(belief, UNSURE) and not keeps(belief, BROKEN)
    assert not keeps(belief, AnswerSigns({"sure": 0.82}, None, ())), "0.9 is not sure enough"
    assert "the prior alone" in belief.by


def test_a_prior_that_is_never_sure_enough_lets_nobody_try() -> None:
    belief = learn_tier([], PRIOR, 0.01, 0.9, fresh=False).route

    assert not belief.vouched
    assert belief.by.endswith("and the prior is sure enough of none")


def test_without_a_prior_nothing_does() -> None:
    belief = learn([], None)

    assert not belief.vouched and not keeps(belief, SURE)


def test_a_prior_that_is_wrong_here_is_not_believed() -> None:
    rows = [replace(row, signs=SURE, agrees=False) for row in outcomes(2)]

    assert keeps(learn(rows[:1]), SURE)
    assert not keeps(learn(rows), SURE)
    assert "has been wrong here" in learn(rows).by


def test_after_an_alarm_only_fresh_outcomes_count() -> None:
    assert not keeps(learn([], fresh=True), SURE)
    assert keeps(learn(outcomes(400, right=lambda sure: sure > 0.5), fresh=True), SURE)


def test_outcomes_take_the_priors_place() -> None:
    belief = learn(outcomes(400, right=lambda sure: float(sure > 0.5), noise=0.05), None)

    assert keeps(belief, SURE) and not keeps(belief, UNSURE) and not keeps(belief, BROKEN)
    assert "400 outcomes vouch" in belief.by
    assert 0.3 < belief.ends < 0.6 and belief.ends_quality > 0.9
    assert belief.quality == pytest.approx(0.5, abs=0.08)


def test_what_is_more_likely_wrong_than_right_is_not_kept_whatever_is_allowed() -> None:
    rows = outcomes(1000, right=lambda sure: float(sure > 0.02), noise=0.0)
    belief = learn_tier(rows, None, 0.5, 0.9, fresh=False).route

    assert belief.least >= 0.5


def test_signs_that_tell_nothing_vouch_for_nothing() -> None:
    belief = learn(outcomes(600, right=lambda sure: 0.4), None)

    assert not belief.vouched
    assert "do not vouch" in belief.by


def test_a_tier_that_is_nearly_always_right_is_kept_whatever_it_shows() -> None:
    belief = learn(outcomes(600, right=lambda sure: 0.99), None)

    assert belief.ends == 1.0 and keeps(belief, UNSURE)


def test_broken_answers_count_as_not_kept() -> None:
    rows = outcomes(400, right=lambda sure: 1.0)
    rows = [replace(row, signs=BROKEN, agrees=False) if n % 2 else row for n, row in enumerate(rows)]
    belief = learn(rows, None)

    assert belief.ends == pytest.approx(0.5, abs=0.05)
    assert keeps(belief, SURE) and not keeps(belief, BROKEN)


def test_a_tenants_few_bad_outcomes_make_it_stricter_and_good_ones_change_nothing() -> None:
    everybody = outcomes(600, right=lambda sure: min(1.0, 0.7 + 0.4 * sure))
    bad = outcomes(40, tenant="bob", right=lambda sure: 0.2)
    good = outcomes(40, tenant="cyd", right=lambda sure: 1.0)
    learned = learn_tier([*everybody, *bad, *good], None, ALLOWED, 0.9, fresh=False)
    middling = AnswerSigns({"sure": 0.9}, None, ())

    assert learned.of("nobody").judge(middling)[1]
    assert not learned.of("bob").judge(middling)[1]
    assert learned.of("cyd").keep_from == learned.route.keep_from
    assert learned.of("bob").quality < learned.route.quality < learned.of("cyd").quality


def test_a_tenant_with_enough_outcomes_is_judged_by_its_own() -> None:
    hard = outcomes(600, right=lambda sure: 0.4)
    easy = outcomes(200, tenant="bob", right=lambda sure: 1.0)
    learned = learn_tier([*hard, *easy], None, ALLOWED, 0.9, fresh=False)

    assert not learned.of("ada").vouched
    assert learned.of("bob").vouched and learned.of("bob").by.startswith("200 outcomes")


def test_the_query_counts_where_it_tells_something() -> None:
    rows = outcomes(600, right=lambda sure: 0.5)
    telling = [replace(row, agrees=row.query["length"] < 0.5) for row in rows]

    assert learn(rows, None).query is None
    model = learn(telling, None)
    assert model.query is not None
    assert model.quality_for({"length": 0.1}) > 0.7 > 0.3 > model.quality_for({"length": 0.9})


def test_a_likelier_right_answer_is_likelier_kept() -> None:
    belief = TierBelief(quality=0.6, ends=0.4)

    assert belief.ends_for(0.6) == pytest.approx(0.4)
    assert belief.ends_for(0.3) < 0.4 < belief.ends_for(0.9)
