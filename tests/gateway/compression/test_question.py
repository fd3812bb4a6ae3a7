"""The question of a message is told from the documents in it."""

from __future__ import annotations

import pytest

from gateway.compression.question import about_form, about_the_whole, asked, protected
from gateway.compression.segments import segments

LONG = "The mill by the river was built in 1704 and burnt down twice. " * 20


def kept(text: str) -> list[str]:
    parts = segments(text)
    return [parts[place].text for place in sorted(protected(parts))]


def test_instruction_and_question_are_kept_and_documents_are_not() -> None:
    assert kept(f"Answer from the text.\n\n{LONG}\n\nWhen was the mill built?") == [
        "Answer from the text.",
        "When was the mill built?",
    ]


def test_documents_are_compared_with_what_asks_and_not_with_instructions() -> None:
    text = f"Answer from the text.\n\n{LONG}\n\nWhen was the mill built?"
    assert asked(segments(text)) == ["When was the mill built?"]
    assert asked(segments(f"{LONG}\n\nTell me about the mill.")) == ["Tell me about the mill."]


def test_a_labelled_question_is_kept_wherever_it_stands() -> None:
    assert kept(f"{LONG}\n\nQuestion: when?\n\n{LONG}") == ["Question: when?"]


def test_json_and_code_are_no_questions() -> None:
    assert kept('{"a": "' + "x" * 80 + '"}') == []


@pytest.mark.parametrize("text", ["Fix the indentation.", "Is this valid JSON?", "Repeat it verbatim."])
def test_questions_about_form(text: str) -> None:
    assert about_form(text) and not about_form("Who built the mill?")


@pytest.mark.parametrize(
    "text", ["Summarise this.", "How many orders are there?", "Translate it into Dutch."]
)
def test_questions_about_the_whole(text: str) -> None:
    assert about_the_whole(text) and not about_the_whole("Who built the mill?")
