"""What may become shorter, what may be left out, and what is the question."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.compression.prompt import NotReadable
from gateway.window.conversation import Conversation, read_conversation

DOCUMENT = "\n\n".join(
    f"Paragraph {n} tells of the town and of what became of it in the end. " * 8 for n in range(5)
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def read(*messages: dict[str, Any]) -> Conversation:
    body = json.dumps(list(messages)).encode()
    return read_conversation(body, 0, len(body))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(text: str = "Yes.") -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def test_a_document_before_its_question() -> None:
    found = read(user(f"{DOCUMENT}\n\nWho owned the mill?"))
    assert [piece.text for piece in found.pieces] == [DOCUMENT.strip()]
    assert found.question == "Who owned the mill?" == found.pieces[0].question


def test_a_document_between_instruction_and_question() -> None:
    found = read(user(f"Read this.\n\n{DOCUMENT}\n\nQuestion: who owned the mill"))
    assert [piece.text for piece in found.pieces] == [DOCUMENT.strip()]
    assert found.question == "Question: who owned the mill"


@pytest.mark.parametrize("gap", ["\n", " "])
def test_a_question_that_stands_close_to_its_document(gap: str) -> None:
    document = " ".join(f"Sentence {n} tells of the town and of what became of it." for n in range(80))
    found = read(user(f"{document}{gap}Who owned the mill?"))
    (piece,) = found.pieces
    assert "Who owned" not in piece.text and found.question.endswith("Who owned the mill?")
    assert len(piece.text) > 0.8 * len(document)


def test_a_question_in_a_part_of_its_own() -> None:
    parts = [{"type": "text", "text": DOCUMENT}, {"type": "text", "text": "Who owned the mill?"}]
    found = read(user(parts))
    assert found.question == "Who owned the mill?" and len(found.pieces) == 1


def test_tools_outputs_are_cut_by_what_is_asked_last() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    output = {"role": "tool", "tool_call_id": "c", "content": DOCUMENT}
    found = read(user("Is it old?"), call, output, said(), user("Who owned the mill?"))
    (piece,) = found.pieces
    assert piece.text == DOCUMENT and piece.question == "Who owned the mill?" and piece.message == 2


def test_short_texts_stay() -> None:
    assert not read(user("Read this: it is short.\n\nWho owned the mill?")).pieces


def test_turns_are_left_out_whole_and_the_last_one_never() -> None:
    found = read(
        {"role": "system", "content": "Be brief."}, user("a"), said(), user("b"), user("c"), said(), user("d")
    )
    assert found.units == [frozenset({1, 2}), frozenset({3, 4, 5})]


def test_calls_are_left_out_with_their_results() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "d"}]}
    results = [{"role": "tool", "tool_call_id": id_, "content": "x"} for id_ in "cd"]
    found = read(user("a"), call, *results, said(), user("b"), call, *results, call, *results)
    assert found.units == [frozenset({0, 1, 2, 3, 4}), frozenset({6, 7, 8})]


def test_what_a_mark_covers_is_not_touched() -> None:
    marked = user([{"type": "text", "text": DOCUMENT, "cache_control": {"type": "ephemeral"}}])
    found = read(
        user(DOCUMENT), said(), marked, said(), user(f"{DOCUMENT}\n\nWho?"), said(), user("And now?")
    )
    assert found.units == [frozenset({4, 5})] and {piece.message for piece in found.pieces} == {4}


def test_a_system_message_among_turns_stays() -> None:
    found = read(user("a"), {"role": "developer", "content": "x"}, said(), user("b"))
    assert found.units == [frozenset({0, 2})]


def test_roles_that_nobody_knows_keep_everything() -> None:
    assert not read(user("a"), said(), {"role": "critic", "content": "x"}, user("b")).units


@pytest.mark.parametrize("messages", [[{"role": "system", "content": "x"}], [], [1]])
def test_without_a_user_there_is_nothing_to_do(messages: list[Any]) -> None:
    with pytest.raises(NotReadable):
        body = json.dumps(messages).encode()
        read_conversation(body, 0, len(body))
