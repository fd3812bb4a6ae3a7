"""A fact is found at every depth, within the budget, and what is missing is marked."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.window.base import CannotShorten, Overlong, Progress
from gateway.window.retrieval import Retrieval
from tests.gateway.window.strategy_means import Doubles, count, document

FACT = "The abbot of Quenby hides a lute behind the altar."
ASKED = "Where does the abbot of Quenby hide it?"
OTHER_WORDS = "At which spot has the monk put his instrument?"


def lute(text: str) -> float:
    return 0.5 if "lute" in text else 0.1


async def kept(text: str, question: str, budget: int, doubles: Doubles) -> str:
    return await Retrieval().shorten(Overlong(text, question, budget, 4000), doubles.means)


@pytest.mark.parametrize("place", [0, 75, 150, 225, 299])
async def test_a_fact_is_found_at_every_depth_by_its_words(place: int) -> None:
    left = await kept(document(300, {place: FACT}), ASKED, 400, Doubles())
    assert FACT in left and count(left) <= 400


@pytest.mark.parametrize("place", [0, 75, 150, 225, 299])
async def test_a_fact_is_found_at_every_depth_by_its_meaning(place: int) -> None:
    left = await kept(document(300, {place: FACT}), OTHER_WORDS, 400, Doubles(fits=lute))
    assert FACT in left and count(left) <= 400


@given(budget=st.integers(32, 900), places=st.sets(st.integers(0, 59), max_size=60))
@settings(max_examples=30, deadline=None)
async def test_the_budget_holds_whatever_fits_the_question(budget: int, places: set[int]) -> None:
    text = document(60, dict.fromkeys(places, FACT))
    assert count(await kept(text, ASKED, budget, Doubles(fits=lute))) <= budget


async def test_what_is_kept_stands_in_its_order_with_marks_between() -> None:
    left = await kept(document(300, {40: FACT, 200: FACT.replace("lute", "harp")}), ASKED, 600, Doubles())
    assert left.index("lute") < left.index("harp") and "passages left out]" in left


async def test_a_passage_brings_the_sentences_around_it() -> None:
    text = "\n\n".join(
        f"Brother {name} came late. He was tired. {'He hid the lute. ' if name == 'Odo' else ''}"
        + "It rained. " * 20
        for name in ["Ava", "Odo", "Ivo", *(f"X{number}" for number in range(40))]
    )
    left = await kept(text, "Who hid the lute?", 300, Doubles())
    assert "He hid the lute." in left and "Brother Odo" in left


async def test_no_more_is_kept_than_the_question_needs() -> None:
    left = await kept(document(300, {150: FACT}), ASKED, 4000, Doubles(fits=lambda text: 0.1))
    assert FACT in left and count(left) < 0.6 * 4000


async def test_what_is_left_of_records_is_json() -> None:
    text = json.dumps([{"id": f"k-{number}", "value": f"v-{number * 7}"} for number in range(2000)])
    left = await kept(text, 'What is the value of "k-1234"?', 300, Doubles())
    assert {"id": "k-1234", "value": "v-8638"} in json.loads(left) and count(left) <= 300


async def test_the_same_comes_out_twice() -> None:
    text = document(100, {50: FACT})
    assert await kept(text, ASKED, 500, Doubles(fits=lute)) == await kept(
        text, ASKED, 500, Doubles(fits=lute)
    )


async def test_without_a_question_or_room_it_is_of_no_use() -> None:
    with pytest.raises(CannotShorten, match="no question"):
        await kept(document(10), "  ", 400, Doubles())
    with pytest.raises(CannotShorten, match="5 tokens"):
        await kept(document(10), ASKED, 5, Doubles())


async def test_progress_is_told_for_each_call_of_the_embedder_and_the_model_is_not_asked() -> None:
    doubles = Doubles(fits=lute)
    await kept(document(600), ASKED, 400, doubles)
    assert doubles.steps[-1] == Progress("retrieve", "passages", len(doubles.steps), len(doubles.steps))
    assert not doubles.prompts
