"""A model is asked where that has paid, and now and then where it has not."""

from __future__ import annotations

from backend_engine.spec.asking import Asking


def asked(
    asking: Asking, *, saves: float, takes: float, expected: float = 1.0, times: int = 200
) -> list[bool]:
    """Offer so many chances to ask, each of which would save and take these seconds."""
    answers = []
    for _ in range(times):
        answers.append(asking.pays(expected))
        if answers[-1]:
            asking.took(takes)
            asking.brought(expected, saves)
    return answers


def test_at_first_it_is_asked() -> None:
    assert Asking().pays(0.0)


def test_it_is_asked_as_long_as_it_saves_more_than_it_takes() -> None:
    assert all(asked(Asking(), saves=0.002, takes=0.0005))


def test_what_does_not_pay_is_given_up_but_for_a_try_now_and_then() -> None:
    tries = asked(Asking(), saves=0.0001, takes=0.0005, times=600)
    assert sum(tries[300:]) < 0.1 * 300
    assert any(tries[300:])


def test_it_is_taken_up_again_when_it_pays_again() -> None:
    asking = Asking()
    asked(asking, saves=-0.001, takes=0.0005, times=400)
    assert all(asked(asking, saves=0.004, takes=0.0005, times=3000)[-100:])


def test_where_the_text_promises_much_it_is_never_asked() -> None:
    assert not any(asked(Asking(), saves=1.0, takes=0.0001, expected=6.0))


def test_experience_with_poor_drafts_says_nothing_of_better_ones() -> None:
    asking = Asking()
    asked(asking, saves=0.0, takes=0.0005, expected=2.0, times=300)
    assert all(asked(asking, saves=0.002, takes=0.0005, expected=0.0, times=20))


def test_a_time_that_was_far_too_long_does_not_count() -> None:
    asking = Asking()
    assert all(asked(asking, saves=0.002, takes=0.0005, times=20))
    asking.took(5.0)
    assert all(asked(asking, saves=0.002, takes=0.0005, times=20))
