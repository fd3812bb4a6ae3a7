"""A tier that is dearer and no better is found."""

from __future__ import annotations

from router.policy.dominance import TierRecord, dominated


def test_a_weaker_tier_may_be_the_dearer_one() -> None:
    assert dominated({"old": TierRecord(0.6, 0.000176), "new": TierRecord(0.7, 0.0000475)}) == {"old": "new"}


def test_cheaper_and_worse_is_a_tier_in_its_own_right() -> None:
    assert dominated({"small": TierRecord(0.6, 0.001), "large": TierRecord(0.9, 0.01)}) == {}


def test_equals_do_not_dominate_each_other() -> None:
    assert dominated({"a": TierRecord(0.6, 0.001), "b": TierRecord(0.6, 0.001)}) == {}


def test_the_same_quality_for_more_money_is_dominated() -> None:
    assert dominated({"a": TierRecord(0.6, 0.001), "b": TierRecord(0.6, 0.002)}) == {"b": "a"}
