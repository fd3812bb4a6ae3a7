"""Every part is read; notes that it does not bear out are dropped, and sentences of the text come along."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, UpstreamBroke
from gateway.window.base import CannotShorten, Overlong, Progress
from gateway.window.sliding import SlidingWindow
from tests.gateway.window.strategy_means import Doubles, count, document

FACT = "The abbot of Quenby hides a lute behind the altar."
QUESTION = "Where does the abbot of Quenby hide it?"
OTHER_WORDS = "At which spot has the monk put his instrument?"


def reader(prompt: str) -> str:
    """Answer as a good model does."""
    return "The lute is behind the altar." if "lute" in prompt else "NOTHING"


def rambler(prompt: str) -> str:
    """Answer as a tiny model does: always something."""
    return "The answer is that the dragon lives in castle number 99."


async def notes(
    text: str, doubles: Doubles, budget: int = 1500, window: int = 700, question: str = QUESTION
) -> str:
    return await SlidingWindow().shorten(Overlong(text, question, budget, window), doubles.means)


@pytest.mark.parametrize("place", [0, 50, 100, 150, 199])
async def test_a_fact_is_found_at_every_depth(place: int) -> None:
    text = document(200, {place: FACT})
    left = await notes(text, Doubles(answer=reader))
    assert "Note: The lute is behind the altar." in left and FACT in left
    assert count(left) <= 1500


@pytest.mark.parametrize("place", [0, 50, 100, 150, 199])
async def test_it_is_found_although_a_tiny_model_says_anything(place: int) -> None:
    text = document(200, {place: FACT})
    left = await notes(text, Doubles(answer=rambler), question=QUESTION)
    assert FACT in left and "dragon" not in left
    other = Doubles(answer=rambler, fits=lambda text: 0.5 if "lute" in text else 0.1)
    assert FACT in await notes(text, other, question=OTHER_WORDS)


async def test_all_of_the_text_is_read_in_prompts_that_fit() -> None:
    text, doubles = document(100), Doubles()
    await notes(text, doubles)
    read = "".join(re.sub(r"(?s)^Text:\n\n|\n\nThis is one part.*", "", prompt) for prompt in doubles.prompts)
    assert all(f"Hamlet {number} lies" in read for number in range(100))
    assert all(count(prompt) <= 700 for prompt in doubles.prompts)


async def test_an_unchanged_part_is_asked_in_the_same_words_when_the_text_grows() -> None:
    short, long = Doubles(), Doubles()
    await notes(document(100), short)
    await notes(document(140), long)
    assert set(short.prompts[:-1]) <= set(long.prompts) and len(short.prompts) > 3


async def test_prompts_about_one_part_begin_alike_whatever_is_asked() -> None:
    one, other = Doubles(), Doubles()
    await notes(document(60), one)
    await notes(document(60), other, question="Who mends nets?")
    for first, second in zip(sorted(one.prompts), sorted(other.prompts), strict=True):
        assert first.partition("Question:")[0] == second.partition("Question:")[0]


async def test_notes_stand_in_the_order_of_the_text_with_their_parts_numbers() -> None:
    copier = Doubles(answer=lambda prompt: "Its people keep geese and mend nets.")
    left = await notes(document(200), copier, budget=4000)
    numbers = [int(found) for found in re.findall(r"\[Part (\d+)\]", left)]
    assert numbers == sorted(numbers) and len(numbers) > 5
    assert f"read in {len(numbers)} parts" in left


async def test_notes_that_do_not_fit_are_asked_about_again_until_they_do() -> None:
    text = document(400, {333: FACT})
    doubles = Doubles(answer=reader)
    left = await notes(text, doubles, budget=300)
    assert any(prompt.startswith("Notes:") for prompt in doubles.prompts)
    assert any(step.step == "notes, level 2" for step in doubles.steps)
    assert FACT in left and count(left) <= 300


async def test_a_part_that_fails_twice_is_named_and_still_shows_its_sentences() -> None:
    def failing(prompt: str) -> str | GatewayError:
        return UpstreamBroke("it ended") if "lute" in prompt else "NOTHING"

    doubles = Doubles(answer=failing)
    left = await notes(document(100, {50: FACT}), doubles)
    assert re.search(r"\[Part \d+ could not be read\]", left) and FACT in left
    assert sum("lute" in prompt for prompt in doubles.prompts) in (2, 4)


async def test_a_part_that_fails_once_is_read() -> None:
    failed: set[str] = set()

    def stumbling(prompt: str) -> str | GatewayError:
        if prompt not in failed:
            failed.add(prompt)
            return UpstreamBroke("it ended")
        return reader(prompt)

    left = await notes(document(100, {50: FACT}), Doubles(answer=stumbling))
    assert "could not be read" not in left and "Note: The lute" in left


async def test_all_parts_failing_raises_the_error() -> None:
    with pytest.raises(UpstreamBroke):
        await notes(document(100), Doubles(answer=lambda prompt: UpstreamBroke("it ended")))


async def test_progress_is_told_after_each_window() -> None:
    doubles = Doubles()
    await notes(document(100), doubles)
    windows = [step for step in doubles.steps if step.step == "windows"]
    assert [step.done for step in windows] == list(range(1, len(doubles.prompts) + 1))
    assert windows[-1] == Progress("window", "windows", len(windows), len(windows))


@given(budget=st.integers(60, 1200), places=st.sets(st.integers(0, 39)))
@settings(max_examples=20, deadline=None)
async def test_the_budget_holds(budget: int, places: set[int]) -> None:
    text = document(40, dict.fromkeys(places, FACT))
    try:
        assert count(await notes(text, Doubles(answer=reader), budget=budget)) <= budget
    except CannotShorten:
        assert budget < 200


async def test_without_a_question_or_room_it_is_of_no_use() -> None:
    with pytest.raises(CannotShorten, match="no question"):
        await notes(document(10), Doubles(), question="")
    with pytest.raises(CannotShorten, match="hold no part"):
        await notes(document(10), Doubles(), window=300)
