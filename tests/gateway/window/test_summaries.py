"""Summaries of everything, with sentences of the text, without numbers that the text does not have."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, UpstreamBroke
from gateway.window.base import CannotShorten, Overlong, Progress
from gateway.window.summaries import HierarchicalSummary
from tests.gateway.window.strategy_means import Doubles, count, document

FACT = "The abbot of Quenby hides a lute behind the altar."


def first_sentence(prompt: str) -> str:
    """Answer as a model does that copies."""
    return "People keep geese and mend nets, and in winter the road is closed."


def numbering(prompt: str) -> str:
    """Answer as a model does that makes up numbers, and not only at the first level."""
    return "The people keep geese. The town has 7,431 people. They mend nets."


async def summary(
    text: str, doubles: Doubles, budget: int = 900, window: int = 800, question: str = ""
) -> str:
    return await HierarchicalSummary().shorten(Overlong(text, question, budget, window), doubles.means)


async def test_all_of_the_text_is_read_in_prompts_that_fit() -> None:
    doubles = Doubles(answer=first_sentence)
    left = await summary(document(200), doubles)
    assert all(any(f"Hamlet {number} lies" in prompt for prompt in doubles.prompts) for number in range(200))
    assert all(count(prompt) <= 800 for prompt in doubles.prompts)
    assert count(left) <= 900


async def test_few_parts_are_not_merged_and_many_are_until_they_fit() -> None:
    few, many = Doubles(answer=first_sentence), Doubles(answer=first_sentence)
    await summary(document(40), few)
    left = await summary(document(800), many)
    assert {step.step for step in few.steps} == {"summaries, level 1"}
    levels = {step.step for step in many.steps}
    assert {"summaries, level 1", "summaries, level 2"} <= levels
    assert count(left) <= 900 and re.search(r"\[Parts 1 to \d+\]", left)


async def test_every_level_has_sentences_of_the_text() -> None:
    doubles = Doubles(answer=first_sentence)
    text = document(800)
    left = await summary(text, doubles)
    merging = [prompt for prompt in doubles.prompts if prompt.startswith("Summaries")]
    for told in [left, *merging]:
        quoted = re.findall(r"“([^”]+)”", told)
        assert quoted and all(line in text for line in quoted)


async def test_numbers_that_the_text_does_not_have_are_dropped_at_every_level() -> None:
    doubles = Doubles(answer=numbering)
    left = await summary(document(800), doubles)
    assert "keep geese" in left and "mend nets" in left
    assert not any("7,431" in told for told in [left, *doubles.prompts])


async def test_a_summary_of_something_else_is_replaced_by_the_text() -> None:
    left = await summary(document(30), Doubles(answer=lambda prompt: "Dragons guard castles of glass."))
    assert "ragons" not in left and "From the text:" in left and "Hamlet 0" in left


async def test_an_unfinished_sentence_is_dropped() -> None:
    left = await summary(
        document(30), Doubles(answer=lambda prompt: "The people keep geese. The nearest tow")
    )
    assert "Summary: The people keep geese.\n" in left


async def test_a_text_that_has_grown_is_asked_about_in_the_same_words_but_for_its_end() -> None:
    short, long = Doubles(answer=first_sentence), Doubles(answer=first_sentence)
    await summary(document(400), short)
    await summary(document(500), long)
    parts = [prompt for prompt in short.prompts if prompt.startswith("Text:")]
    merged = [prompt for prompt in short.prompts if prompt.startswith("Summaries")]
    assert len(parts) > 5 and len(set(parts) - set(long.prompts)) <= 1
    assert len(merged) > 1 and len(set(merged) - set(long.prompts)) <= 1


async def test_prompts_are_the_same_whatever_is_asked() -> None:
    one, other = Doubles(answer=first_sentence), Doubles(answer=first_sentence)
    await summary(document(100), one, question="What is it about?")
    await summary(document(100), other, question="Who is the abbot of Quenby, and why?")
    assert one.prompts == other.prompts


async def test_sentences_that_fit_the_question_fill_the_room_that_is_left() -> None:
    text = document(100, {57: FACT})
    left = await summary(text, Doubles(answer=first_sentence), 2500, question="Where is the abbot's lute?")
    assert FACT in left and count(left) <= 2500
    assert "fit the question" not in await summary(text, Doubles(answer=first_sentence), 2500)


async def test_a_part_that_fails_twice_is_named_at_every_level() -> None:
    def failing(prompt: str) -> str | GatewayError:
        return UpstreamBroke("it ended") if "Hamlet 0 lies" in prompt else first_sentence(prompt)

    for passages in (40, 800):
        left = await summary(document(passages), Doubles(answer=failing))
        assert "[Part 1 could not be read]" in left


async def test_summaries_that_cannot_be_merged_leave_their_sentences() -> None:
    def failing(prompt: str) -> str | GatewayError:
        return UpstreamBroke("it ended") if "[Part 1]" in prompt else first_sentence(prompt)

    doubles = Doubles(answer=failing)
    left = await summary(document(800), doubles)
    again = [
        prompt for prompt in doubles.prompts if re.search(r"\[Parts 1 to \d+\]\nFrom the text:\n“", prompt)
    ]
    assert again and "could not be read" not in left


async def test_all_parts_failing_raises_the_error() -> None:
    with pytest.raises(UpstreamBroke):
        await summary(document(100), Doubles(answer=lambda prompt: UpstreamBroke("it ended")))


async def test_progress_is_told_after_each_summary() -> None:
    doubles = Doubles(answer=first_sentence)
    await summary(document(100), doubles)
    first = [step for step in doubles.steps if step.step == "summaries, level 1"]
    assert [step.done for step in first] == list(range(1, len(first) + 1))
    assert first[-1] == Progress("summarise", "summaries, level 1", len(first), len(first))


@given(budget=st.integers(60, 1500), window=st.integers(300, 2000), passages=st.integers(1, 150))
@settings(max_examples=20, deadline=None)
async def test_the_budget_and_the_window_hold(budget: int, window: int, passages: int) -> None:
    doubles = Doubles(answer=first_sentence)
    try:
        left = await summary(document(passages), doubles, budget, window, "Where are geese?")
    except CannotShorten:
        assert budget < 300 or window < 600
    else:
        assert count(left) <= budget
    assert all(count(prompt) <= window for prompt in doubles.prompts)
