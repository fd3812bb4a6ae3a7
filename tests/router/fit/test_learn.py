"""A log becomes a policy that goes by what helps and admits what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router.after.signs import SmallAnswer, signs_of
from router.before.query import Query
from router.before.query_signs import query_signs
from router.errors import TooFewOutcomes
from router.fit.learn import learn
from router.outcomes import Outcome
from router.policy.learned import load, save


def log(count: int, seed: int, *, topics: bool, answers: bool) -> list[Outcome]:
    """Sums that the small model gets wrong half the time: in one topic mostly, or at random."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        hard = bool(number % 2)
        right = bool(rng.random() > ((0.9 if hard else 0.1) if topics else 0.5))
        a, b = rng.integers(3, 90, 2).tolist()
        found.append(
            Outcome(
                f"{a} boxes of {b}?",
                right,
                bool(rng.random() < 0.97),
                ("law" if hard else "art") if topics else None,
                weak_answer=f"{a} * {b} = {a * b if right else a * b + 9}" if answers else None,
            )
        )
    return found


def test_it_goes_by_the_query_where_the_topic_tells() -> None:
    policy = learn(log(400, 1, topics=True, answers=False), 0.9)

    def share(topic: str) -> float:
        decisions = [policy.before(Query(topic, query_signs(f"{n} boxes of 38?"))) for n in range(10, 90)]
        return float(np.mean([decision.large for decision in decisions if decision is not None]))

    assert policy.decides_by == "query"
    assert share("law") > 0.6
    assert share("art") < 0.1


def test_it_goes_by_the_answer_where_that_tells_more() -> None:
    policy = learn(log(400, 1, topics=False, answers=True), 0.9)

    assert policy.decides_by == "answer"
    assert "the query alone does not beat a coin" in policy.said[0]
    assert "the small model's answer helps" in policy.said[1]
    assert policy.after(signs_of(SmallAnswer("7 boxes of 8?", "7 * 8 = 56"))).large == 0
    assert policy.after(signs_of(SmallAnswer("7 boxes of 8?", "7 * 8 = 65"))).large == 1


@pytest.mark.parametrize("answers", [True, False])
def test_the_quality_that_was_asked_for_is_kept_on_new_requests(answers: bool) -> None:
    kept = 0
    for seed in range(10):
        policy = learn(log(400, seed, topics=not answers, answers=answers), 0.9)
        new = log(400, seed + 100, topics=not answers, answers=answers)
        right = 0.0
        for outcome in new:
            decision = policy.before(Query(outcome.topic, query_signs(outcome.prompt)))
            if decision is None:
                decision = policy.after(signs_of(SmallAnswer(outcome.prompt, outcome.weak_answer or "")))
            right += decision.large * outcome.strong_right + (1 - decision.large) * outcome.weak_right
        kept += right >= 0.89 * sum(outcome.strong_right for outcome in new)

    assert kept >= 8


@pytest.mark.parametrize(("topics", "answers"), [(True, False), (False, True), (False, False)])
def test_what_was_learned_can_be_written_and_read(topics: bool, answers: bool, tmp_path: Path) -> None:
    policy = learn(log(200, 1, topics=topics, answers=answers), 0.9)

    save(policy, tmp_path / "policy.json")

    assert load(tmp_path / "policy.json") == policy


def test_it_draws_lots_and_says_so_where_nothing_tells() -> None:
    policy = learn(log(400, 1, topics=False, answers=False), 0.9)

    assert policy.decides_by == "coin"
    assert policy.query is None and policy.confidence is None
    assert 0.5 < policy.escalation.share < 1


def test_too_few_outcomes_promise_nothing() -> None:
    with pytest.raises(TooFewOutcomes, match="99 outcomes"):
        learn(log(99, 1, topics=True, answers=True), 0.9)
