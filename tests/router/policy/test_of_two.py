"""A policy for two tiers never chooses one that cannot take the request."""

from __future__ import annotations

import pytest

from router.after.signs import AnswerSigns
from router.before.query import Query
from router.policy.base import Facts
from router.policy.learned import Learned
from router.policy.of_two import LARGE, SMALL, OfTwo
from tests.gateway.support.two_models import BY_ANSWER, BY_QUERY

HARD = Query(None, {"digits": 1.0})
BAD = AnswerSigns({"wrong_sums": 1.0}, "looping", ())


@pytest.mark.parametrize("policy", [BY_QUERY, BY_ANSWER])
def test_what_one_model_cannot_take_the_other_answers(policy: Learned) -> None:
    it = OfTwo(policy)
    both, small, large = (Facts(HARD, 0.5, able) for able in ((True, True), (True, False), (False, True)))

    assert it.first(both).tier == (LARGE if policy is BY_QUERY else SMALL)
    assert it.after(both, {SMALL: BAD}).tier == LARGE
    assert it.first(large).tier == LARGE
    assert it.first(small).tier == it.after(small, {SMALL: BAD}).tier == SMALL
    assert "the large model cannot take the request" in it.first(small).reason
