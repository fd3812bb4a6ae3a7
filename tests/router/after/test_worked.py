"""What a worked solution shows of itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.after.worked import worked_signs

PROMPT = (
    "A crate holds 12 jars. Mina fills 5 crates and half of another. Then 4 jars break. How many are left?"
)
SOUND = "5 crates hold 5 * 12 = 60 jars.\nThe other holds 12 / 2 = 6.\n60 + 6 - 4 = 62 jars are left."


def test_a_sound_solution_uses_what_was_given_and_what_it_found() -> None:
    signs = worked_signs(PROMPT, SOUND)

    assert signs["wrong_sums"] == signs["from_nowhere"] == signs["unused_given"] == signs["dead_results"] == 0
    assert signs["given_used"] == 1
    assert signs["last_uses_result"] == signs["final_is_last_result"] == 1


def test_a_sum_that_is_wrong_is_counted() -> None:
    assert worked_signs(PROMPT, SOUND.replace("= 60", "= 70"))["wrong_sums"] == 1


def test_numbers_from_nowhere_and_results_that_nothing_uses_are_counted() -> None:
    signs = worked_signs(PROMPT, "5 * 12 = 60 jars.\n37 - 4 = 33 jars are left.")

    assert signs["from_nowhere"] == 1
    assert signs["dead_results"] == 1


def test_given_numbers_that_are_not_used_are_counted() -> None:
    assert worked_signs(PROMPT, "5 * 12 = 60 jars are left.")["unused_given"] == 1


def test_percentages_of_what_was_given_come_from_somewhere() -> None:
    assert worked_signs("A coat of $80 is 25% off.", "80 * 0.75 = 60")["from_nowhere"] == 0


def test_of_an_answer_without_sums_only_its_form_is_known() -> None:
    signs = worked_signs("Who wrote it, of the 4?", "A sailor, 3 of them say.")

    assert signs["no_sums"] == 1
    assert signs.keys() == {"no_sums", "log_length", "lines"}


@given(st.text(), st.text())
def test_every_text_has_finite_signs_of_known_names(prompt: str, answer: str) -> None:
    signs = worked_signs(prompt, answer)

    assert signs.keys() <= worked_signs(PROMPT, SOUND).keys()
    assert all(abs(value) < 1e4 for value in signs.values())
