"""A learned policy decides, says why, and survives its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from router.after.confidence import Confidence
from router.after.signs import SmallAnswer, signs_of
from router.before.query import Query, QueryModel
from router.before.topics import fit_topics
from router.errors import BadPolicy
from router.isotonic import Isotonic
from router.logistic import Logistic, Weight
from router.policy.escalation import ALL_LARGE, Escalation
from router.policy.learned import Learned, load, save

BY_ANSWER = Learned(
    0.95,
    300,
    "answer",
    Escalation(0.5, 0.0),
    None,
    Confidence(Logistic(0.0, {"wrong_sums": Weight(-1.0, 0.0, 1.0)}), Isotonic((-1.0, 0.0), (0.2, 0.8))),
    ("the small model's answer helps",),
)
TOPICS = fit_topics(["law"] * 50 + ["art"] * 50, [1.0] * 50 + [0.0] * 50)
BY_QUERY = Learned(0.95, 300, "query", Escalation(0.5, 0.0), QueryModel(TOPICS, None, None), None, ())
COIN = Learned(0.95, 300, "coin", Escalation(0.0, 0.7), None, None, ())


def answered(text: str) -> SmallAnswer:
    return SmallAnswer("What are 4 boxes of 6?", text, "stop")


def test_where_the_answer_decides_it_is_heard_first() -> None:
    assert BY_ANSWER.before(Query()) is None
    assert BY_ANSWER.after(signs_of(answered("4 * 6 = 24"))).large == 0
    wrong = BY_ANSWER.after(signs_of(answered("4 * 6 = 26")))
    assert wrong.large == 1
    assert "right with probability 0.20" in wrong.reason and "above the threshold" in wrong.reason


def test_where_the_query_decides_the_topic_may() -> None:
    hard, easy = BY_QUERY.before(Query("law")), BY_QUERY.before(Query("art"))

    assert hard is not None and hard.large == 1
    assert easy is not None and easy.large == 0 and "below the threshold" in easy.reason


def test_where_nothing_beats_a_coin_lots_are_drawn_and_that_is_said() -> None:
    decision = COIN.before(Query())

    assert decision is not None
    assert decision.large == 0.7
    assert decision.reason == "no signal beats a coin; 70% go to the large tier"


def test_a_coin_that_may_never_be_tossed_sends_everything_to_the_large_tier() -> None:
    decision = replace(COIN, escalation=ALL_LARGE).before(Query())

    assert decision is not None and decision.large == 1


@pytest.mark.parametrize("policy", [BY_ANSWER, BY_QUERY, COIN])
def test_an_answer_that_is_broken_is_never_kept(policy: Learned) -> None:
    assert policy.after(signs_of(answered(""))).large == 1


def test_an_answer_of_sound_form_is_kept_where_the_query_decided() -> None:
    assert BY_QUERY.after(signs_of(answered("24"))).large == 0


@pytest.mark.parametrize("policy", [BY_ANSWER, BY_QUERY, COIN, replace(COIN, escalation=ALL_LARGE)])
def test_the_file_holds_all_of_it(policy: Learned, tmp_path: Path) -> None:
    save(policy, tmp_path / "policy.json")

    assert load(tmp_path / "policy.json") == policy


@pytest.mark.parametrize("text", ["", "{}", '{"quality": "high"}'])
def test_what_is_no_policy_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(text)

    with pytest.raises(BadPolicy, match=r"policy\.json: "):
        load(tmp_path / "policy.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPolicy, match="No such file"):
        load(tmp_path / "none.json")
