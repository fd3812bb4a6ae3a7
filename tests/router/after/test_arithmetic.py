"""Sums that an answer shows are computed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.after.arithmetic import calculations, evaluate, without_marks


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(2+3)×4", 20),
        ("20 − 8 ÷ 2", 16),
        ("$1,200 / 4", 300),
        ("-3 + 5", 2),
        ("50% * 80", 40),
        (".5*8", 4),
        ("3 x 4", 12),
        ("10 - 2 - 3", 5),
    ],
)
def test_the_usual_precedence_and_ways_of_writing(text: str, value: float) -> None:
    assert evaluate(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "3 +", "(3", "3)", "y * 2", "4 / 0", "2 ** 3", "(" * 40 + "1" + ")" * 40]
)
def test_what_is_no_sum_has_no_value(text: str) -> None:
    assert evaluate(text) is None


SUMS = st.recursive(
    st.integers(0, 999).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
    max_leaves=12,
)


@given(SUMS)
def test_any_sum_has_the_value_that_python_gives_it(text: str) -> None:
    assert evaluate(text) == pytest.approx(float(eval(text)))


@given(st.text(alphabet="0123456789.,+-*/()%$ x", max_size=40))
def test_no_text_is_an_error(text: str) -> None:
    evaluate(text)
    calculations(f"{text} = 3")


def test_a_wrong_sum_in_line_is_found() -> None:
    right, wrong = calculations("Eggs: 16 - 3 - 4 = 9. Money: 9 * $2 = $19 a day.")

    assert (right.right, right.operands) == (True, [16, 3, 4])
    assert (wrong.right, wrong.computed, wrong.stated) == (False, 18, 19)


def test_calculator_marks_go_before_the_prose_around_them() -> None:
    text = "That is 3 * 4 = <<3*4=13>>13 jars."

    assert [sum_.stated for sum_ in calculations(text)] == [13]
    assert without_marks(text) == "That is 3 * 4 = 13 jars."


def test_a_result_rounded_to_cents_is_right() -> None:
    (found,) = calculations("10 / 3 = 3.33")

    assert found.right


def test_equations_with_unknowns_claim_nothing() -> None:
    assert calculations("Let y = 3, so 2y = 6 and y + 1 = 4.") == []


@pytest.mark.parametrize("unit", ["1", "1+", "(", "1 ", "<<1=", "1,", "1)+"])
def test_a_long_answer_comes_to_an_end(unit: str) -> None:
    # A search that is quadratic in its length would run into the test's time limit.
    assert len(calculations(unit * 200_000)) <= 50
