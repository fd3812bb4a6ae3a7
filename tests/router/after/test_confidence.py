"""A judgement is a calibrated probability with its reason."""

from __future__ import annotations

from router.after.confidence import Confidence
from router.after.logprobs import Token
from router.after.signs import SmallAnswer, signs_of
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight

CONFIDENCE = Confidence(
    Logistic(0.0, {"wrong_sums": Weight(-2.0, 0.0, 1.0), "logprob_q10": Weight(1.0, -1.0, 1.0)}),
    Isotonic((-2.0, 0.0, 1.0), (0.1, 0.6, 0.9)),
)
PROMPT = "What are 4 boxes of 6?"


def test_a_wrong_sum_lowers_it() -> None:
    right = CONFIDENCE.judge(signs_of(SmallAnswer(PROMPT, "4 * 6 = 24")))
    wrong = CONFIDENCE.judge(signs_of(SmallAnswer(PROMPT, "4 * 6 = 26")))

    assert (right.probability, wrong.probability) == (0.6, 0.1)


def test_without_logprobs_the_rest_is_used_and_that_is_said() -> None:
    judged = CONFIDENCE.judge(signs_of(SmallAnswer(PROMPT, "4 * 6 = 24", "stop")))

    assert judged.reason == "right with probability 0.60, mostly by wrong sums; without logprobs"


def test_with_logprobs_they_count() -> None:
    judged = CONFIDENCE.judge(signs_of(SmallAnswer(PROMPT, "4 * 6 = 24", "stop", tokens=[Token(-0.1)])))

    assert judged.probability > 0.8
    assert judged.reason.startswith("right with probability 0.87, mostly by logprob q10")


def test_a_broken_answer_has_none() -> None:
    judged = CONFIDENCE.judge(signs_of(SmallAnswer(PROMPT, "4 * 6", "length")))

    assert (judged.probability, judged.reason) == (0.0, "the answer is cut short")
