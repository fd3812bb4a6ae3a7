"""Tool calls are read out of a text however it is cut into pieces."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_engine.server.tool_calls import ToolCallReader
from backend_engine.structured.grammar import AFTER_ARGUMENTS, BEFORE_ARGUMENTS, BEFORE_NAME, BETWEEN_CALLS

NASTY = {"a": "}</tool_call>", "b": '"}', "c": {"d": ["<tool_call>", "\n}\n</tool_call>"]}, "é": "日"}


def written(name: str, arguments: dict[str, object]) -> str:
    return BEFORE_NAME + name + BEFORE_ARGUMENTS + json.dumps(arguments, ensure_ascii=False) + AFTER_ARGUMENTS


def read(pieces: list[str]) -> tuple[ToolCallReader, str, list[tuple[str, str]]]:
    """Push all pieces and put what came out together again."""
    reader = ToolCallReader()
    content = ""
    calls: list[tuple[str, str]] = []
    for at, piece in enumerate(pieces):
        text, found = reader.push(piece, final=at == len(pieces) - 1)
        content += text
        for part in found:
            if part.begins:
                assert part.call.index == len(calls)
                calls.append((part.call.name, ""))
            name, arguments = calls[part.call.index]
            calls[part.call.index] = (name, arguments + part.arguments)
    return reader, content, calls


@given(st.lists(st.integers(0, 400), max_size=12))
def test_the_cuts_do_not_matter(cuts: list[int]) -> None:
    text = "Let me <see> " + written("f", NASTY) + BETWEEN_CALLS + written("g", {})
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    reader, content, calls = read([text[a:b] for a, b in itertools.pairwise(places)])
    assert content == reader.content == "Let me <see> "
    assert [(name, json.loads(arguments)) for name, arguments in calls] == [("f", NASTY), ("g", {})]
    assert [(call.name, call.arguments) for call in reader.calls] == calls
    assert reader.complete
    assert len({call.id for call in reader.calls}) == 2


@pytest.mark.parametrize("text", ["", "plain", "a < b <tool", "ends in <tool_call", "<tool_call>\n"])
def test_text_without_a_call_is_content(text: str) -> None:
    reader, content, calls = read(list(text) or [""])
    assert content == text
    assert not calls
    assert not reader.complete


def test_text_that_cannot_become_a_call_is_given_out_at_once() -> None:
    reader = ToolCallReader()
    assert reader.push("Hello", final=False) == ("Hello", [])
    assert reader.push(" <tool", final=False) == (" ", [])
    assert reader.push("box", final=False) == ("<toolbox", [])


@pytest.mark.parametrize("end", [20, 40, 55])
def test_a_call_that_was_cut_is_not_complete(end: int) -> None:
    reader, _, _ = read([written("lookup", {"word": "forebay", "n": 3})[:end]])
    assert not reader.complete


def test_the_arguments_so_far_of_a_cut_call_are_given_out() -> None:
    reader, _, calls = read([written("f", {"word": "forebay"})[:-20]])
    assert calls[0][0] == "f"
    assert calls[0][1].startswith('{"word": "')
    assert not reader.complete
