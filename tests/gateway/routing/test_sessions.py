from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import Price
from gateway.routing.sessions import STAY_TURNS, TTL_S, WARM_S, Sessions, Turn
from gateway.routing.sticky import stays

KEY = b"k"
SMALL, LARGE = 0, 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def messages(turns: int) -> bytes:
    return b"[" + b",".join(b'{"role":"user","content":"turn %d"}' % at for at in range(turns)) + b" ]"


def test_a_conversation_that_goes_on_is_known() -> None:
    sessions = Sessions()
    first = sessions.turn("t", KEY, messages(1), goes_on=False)
    assert first.tier is None and not first.warm
    sessions.answered(first, LARGE, hard=True)
    again = sessions.turn("t", KEY, messages(1), goes_on=False)
    assert again.tier is None, "the same question by itself begins anew"
    second = sessions.turn("t", KEY, messages(2), goes_on=True)
    assert (second.tier, second.stay) == (LARGE, STAY_TURNS)
    assert second.warm == {LARGE: len(first.messages) / len(second.messages)}


def test_what_was_not_read_is_not_warm() -> None:
    sessions = Sessions()
    sessions.answered(sessions.turn("t", KEY, messages(2), goes_on=False), SMALL, hard=False)
    changed = messages(3).replace(b"turn 0", b"turn x")
    assert sessions.turn("t", KEY, changed, goes_on=True).warm == {}
    assert sessions.turn("t", KEY, messages(1), goes_on=True).warm == {}
    assert sessions.turn("t", KEY, messages(2), goes_on=True).warm == {SMALL: 1.0}


def test_what_was_read_long_ago_is_cold_and_what_was_said_long_ago_forgotten() -> None:
    clock = Clock()
    sessions = Sessions(clock=clock)
    sessions.answered(sessions.turn("t", KEY, messages(1), goes_on=False), LARGE, hard=True)
    clock.now = WARM_S + 1
    turn = sessions.turn("t", KEY, messages(2), goes_on=True)
    assert turn.tier == LARGE and turn.warm == {}
    clock.now = TTL_S + 1
    assert sessions.turn("t", KEY, messages(2), goes_on=True).tier is None


def test_memory_is_bounded_and_shared_fairly() -> None:
    sessions = Sessions(capacity=4)
    sessions.answered(sessions.turn("quiet", b"q", messages(1), goes_on=False), LARGE, hard=False)
    for number in range(20):
        key = b"%d" % number
        sessions.answered(sessions.turn("loud", key, messages(1), goes_on=False), LARGE, hard=False)
    assert sessions.turn("quiet", b"q", messages(2), goes_on=True).tier == LARGE
    assert sessions.turn("loud", b"0", messages(2), goes_on=True).tier is None
    assert sessions.turn("loud", b"19", messages(2), goes_on=True).tier == LARGE


@given(st.lists(st.booleans(), max_size=30))
def test_after_a_hard_turn_so_many_stay_and_no_more(hard: list[bool]) -> None:
    sessions, left = Sessions(), 0
    for at, is_hard in enumerate(hard, start=1):
        turn = sessions.turn("t", KEY, messages(at), goes_on=at > 1)
        assert turn.stay == left
        stayed = left > 0
        sessions.answered(turn, LARGE if is_hard or stayed else SMALL, hard=is_hard)
        left = STAY_TURNS if is_hard else max(0, left - 1)


CHEAP, DEAR = Price(1.0, 2.0), Price(10.0, 20.0, cache_read=1.0)
PRICES = (CHEAP, DEAR)


def turn(tier: int | None, *, hard: bool = False, warm: bool = True) -> Turn:
    clock = Clock()
    sessions = Sessions(clock=clock)
    first = sessions.turn("t", KEY, messages(20), goes_on=False)
    if tier is not None:
        sessions.answered(first, tier, hard=hard)
    clock.now = 0.0 if warm else WARM_S + 1
    return sessions.turn("t", KEY, messages(20), goes_on=True)


def test_a_hard_turn_keeps_what_follows() -> None:
    assert "4 more stay" in (stays(turn(LARGE, hard=True), SMALL, PRICES, 10) or "")
    for easy in (turn(None), turn(SMALL), turn(LARGE, warm=False)):
        assert stays(easy, SMALL, PRICES, 100_000) is None


def test_a_larger_model_is_never_kept_away() -> None:
    assert stays(turn(SMALL), LARGE, PRICES, 10) is None


def test_a_long_prompt_stays_where_it_has_been_read_if_that_is_cheaper() -> None:
    # 100,000 tokens: 0.1 and 20 * 256 there, against 0.2 and 2 * 256 elsewhere.
    dearer = (Price(2.0, 2.0), DEAR)
    assert "in its cache" in (stays(turn(LARGE), SMALL, dearer, 100_000) or "")
    assert stays(turn(LARGE), SMALL, dearer, 1_000) is None
    assert stays(turn(LARGE), SMALL, (None, DEAR), 100_000) is None
    assert stays(turn(LARGE), SMALL, (CHEAP, Price(10.0, 20.0)), 100_000) is None
