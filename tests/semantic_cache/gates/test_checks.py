"""The gates together: what may pass to the verifier, and what each gate refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.gates import checks
from semantic_cache.gates.checks import check
from semantic_cache.gates.text import Text

SAME = [
    ("How do I repair a kettle?", "What is the best way to repair a kettle?"),
    ("How do I repair a kettle?", "If you want to fix a kettle, what should you do?"),
    ("What makes a guide more patient?", "What makes a guide less impatient?"),
    ("Why hire a brave guide?", "Why hire a guide who is not cowardly?"),
    ("Is Alma married to Boris?", "Is Boris married to Alma?"),
    ("Which is heavier, a plum or a fig?", "Which is heavier, a fig or a plum?"),
    ("Was Alma hired by Boris?", "Did Boris hire Alma?"),
    ("In Rome, where can I rent a boat?", "Where can I rent a boat in Rome?"),
    ("What does a dozen lamps cost?", "What do 12 lamps cost?"),
    ("Can you tell me how to prune roses?", "how to prune roses"),
    ("Don't I need a visa for Kenya?", "Do I not need a visa for Kenya?"),
    ("What colour is a ripe fig?", "What color is a ripe fig?"),
]
DIFFERENT = [
    ("How far is 3 miles?", "How far is 4 miles?", "numbers"),
    ("3 plums and 5 figs cost what?", "5 plums and 3 figs cost what?", "numbers"),
    ("A beam is 4 feet long?", "A beam is 4 miles long?", "numbers"),
    ("Is Alma a judge?", "Is Edda a judge?", "entities"),
    ("What does `sort -n` do?", "What does `sort -r` do?", "literals"),
    ("What is in https://a.example/x?", "What is in https://a.example/y?", "literals"),
    ("Why is x < y here?", "Why is x > y here?", "literals"),
    ("Wie repariere ich einen Kessel?", "Wie repariere ich den Kessel?", "language"),
    ("How do I fix a kettle?", "Как починить чайник?", "language"),
    ("Can I freeze soup?", "Can I not freeze soup?", "negation"),
    ("What makes a guide more patient?", "What makes a guide less patient?", "negation"),
    ("How do I lock the door?", "How do I unlock the door?", "negation"),
    ("Should I rinse rice before frying?", "Should I rinse rice after frying?", "negation"),
    ("Is Alma a judge?", "Was Alma formerly a judge?", "order"),
    ("Is Alma a judge?", "Will Alma soon be a judge?", "order"),
    ("Is Alma suing Boris?", "Is Boris suing Alma?", "roles"),
    ("Is a plum heavier than a fig?", "Is a fig heavier than a plum?", "roles"),
    ("Was Alma hired by Boris?", "Did Alma hire Boris?", "roles"),
    ("Does a goat swim?", "Does a crow swim?", "premises"),
    ("How do I sell a house?", "How do I sell a rented house?", "premises"),
    ("Is Alma Berg famous?", "Is Alma Berg hungry?", "premises"),
    ("Where is the depot?", "When is the depot open?", "premises"),
    ("Should I paint the fence?", "How do I paint the fence?", "premises"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_a_rephrasing_passes_either_way_round(a: str, b: str) -> None:
    assert check(a, b)[-1].passed, check(a, b)[-1]
    assert check(b, a)[-1].passed, check(b, a)[-1]


@pytest.mark.parametrize(("a", "b", "gate"), DIFFERENT)
def test_a_change_of_meaning_is_refused_either_way_round(a: str, b: str, gate: str) -> None:
    assert check(a, b)[-1].gate == gate
    assert not check(a, b)[-1].passed
    assert not check(b, a)[-1].passed


def test_a_passage_may_tell_its_clauses_in_another_order_but_lose_no_number() -> None:
    a = (
        "Farid picks 40 melons in the morning and carries them to the market in crates of 8. After lunch he "
        "sells half of the crates. How many crates are left in the evening?"
    )
    b = (
        "In the morning, Farid gathers 40 melons, which he takes to the market in crates that hold 8. Half "
        "of the crates are sold after lunch. What number of crates is left in the evening?"
    )
    assert check(a, b)[-1].passed, check(a, b)[-1]
    assert not check(a, b.replace("gathers 40 melons", "gathers melons"))[-1].passed
    assert not check(a, b.replace("Half", "A third"))[-1].passed


def test_the_detail_names_the_word_and_not_the_prompt() -> None:
    assert check("Does a goat swim?", "Does a crow swim?")[-1].detail == "goat/crow"


def test_a_gate_that_raises_has_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(a: Text, b: Text) -> None:
        raise ValueError

    monkeypatch.setattr(checks, "GATES", (broken,))
    assert not check("How far is it?", "How far is it?")[-1].passed


@given(st.text(max_size=120))
def test_no_text_makes_the_gates_fail(text: str) -> None:
    assert check(text, text)
    assert check(text, "How do I repair a kettle?")


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_verdict_is_the_same_either_way_round(a: str, b: str) -> None:
    assert check(a, b)[-1].passed == check(b, a)[-1].passed
