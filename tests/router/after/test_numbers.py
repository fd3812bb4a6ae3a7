"""Numbers in digits and in words."""

from __future__ import annotations

from router.after.numbers import numbers_in, same, value_of, worded_in


def test_thousands_and_decimals_are_read() -> None:
    assert numbers_in("From 1,250.5 to 3. Then .5 of 20%.") == [1250.5, 3, 0.5, 20]


def test_words_stand_for_counts_parts_and_units() -> None:
    assert worded_in("Two dozen, half of them each week; 5% more") == {2, 12, 7, 100}


def test_words_within_words_do_not() -> None:
    assert worded_in("Someone's tension at the weekend") == set()


def test_a_value_may_have_a_dollar_sign() -> None:
    assert value_of(" $1,000 ") == 1000
    assert value_of("ten") is None


def test_numbers_are_equal_to_a_cent_or_a_thousandth() -> None:
    assert same(3.333333, 3.33)
    assert same(100_050, 100_000)
    assert not same(3.35, 3.33)
