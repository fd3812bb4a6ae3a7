"""A threshold, and a share of what lies on it."""

from __future__ import annotations

import pytest

from router.policy.escalation import ALL_LARGE, FARTHEST, Escalation, escalate_share


def test_above_the_threshold_all_are_escalated_and_below_none() -> None:
    escalation = Escalation(0.5, 0.25)

    assert escalation.escalates(0.6, 0.999)
    assert not escalation.escalates(0.4, 0.0)


def test_on_the_threshold_the_draw_decides() -> None:
    assert Escalation(0.5, 0.25).escalates(0.5, 0.2)
    assert not Escalation(0.5, 0.25).escalates(0.5, 0.25)


def test_as_long_as_nothing_is_known_everything_is() -> None:
    assert ALL_LARGE.escalates(-FARTHEST, 0.99)
    assert ALL_LARGE.escalates(-3.0, 0.99)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.3, 1.0])
def test_a_share_takes_the_highest_and_shares_ties_out(share: float) -> None:
    scores = [0.0, 1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0]
    escalation = escalate_share(scores, share)

    assert sum(map(escalation.probability, scores)) == pytest.approx(share * len(scores))
    assert escalation.probability(4.0) >= escalation.probability(0.0)
