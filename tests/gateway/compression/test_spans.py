"""What is sent, with its spans put back, is the original: character for character, whatever was left out."""

from __future__ import annotations

import json
import random
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.compression.compress import compress
from gateway.compression.mode import AUTO, Mode
from gateway.compression.prompt import read_messages
from gateway.compression.spans import left_out, marked, restored

LOG = "\n".join(f"12:00:{line:03} worker handled request r{line}" for line in range(400))
NOTE = "tool id=abc"
_WORDS = st.sampled_from(
    [
        "mill ",
        "tower. ",
        "Harbour,",
        "\n",
        "\n\n",
        "[…] ",
        "[3 passages left out]",
        "[lines 2-3 left out]",
        "é漢",
    ]
)
_TEXTS = st.lists(_WORDS, max_size=60).map("".join)
_MODES = st.sampled_from([AUTO, Mode("ratio", 2.0), Mode("ratio", 4.0), Mode("ratio", 12.0)])


async def sent(original: str, mode: Mode, role: str, question: str = "") -> str:
    messages = [{"role": role, "content": original}]
    if role == "tool":
        messages.insert(0, {"role": "user", "content": question})
    body = json.dumps(messages).encode()
    done = await compress(read_messages(body, 0, len(body)), mode)
    return next((change.value for change in done.changes if change.text.value == original), original)


@settings(max_examples=40)
@given(original=_TEXTS, other=_TEXTS)
def test_any_two_texts_can_be_laid_beside_each_other(original: str, other: str) -> None:
    spans = left_out(original, other)
    assert restored(other, spans) == original
    assert all(original[span.start : span.end] == span.text for span in spans)
    found = marked(other, spans, NOTE)
    assert found is None or restored(*found) == original


@st.composite
def _prompts(draw: st.DrawFn) -> str:
    """Documents, logs and records as they stand in prompts."""
    # Only the seed is drawn: each of its numbers by itself would take hypothesis longer than the test.
    chance = Random(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["documents", "log", "records"]))
    if kind == "documents":
        words = ["mill", "tower", "harbour", "was built", "nobody knows", "1704", "owns", "today"]
        texts = [
            f"Document {number}\n"
            + " ".join(" ".join(chance.choices(words, k=7)).capitalize() + "." for _ in range(5))
            for number in range(draw(st.integers(4, 12)))
        ]
        return "\n\n".join(texts)
    if kind == "log":
        return "\n".join(
            f"{line} {chance.choice('abc')} request" for line in range(draw(st.integers(10, 300)))
        )
    rows = [{"id": number, "x": chance.random()} for number in range(draw(st.integers(4, 60)))]
    return json.dumps(rows, indent=draw(st.sampled_from([None, 1])))


@settings(max_examples=30)
@given(original=_prompts(), mode=_MODES, role=st.sampled_from(["user", "tool"]), data=st.data())
async def test_nothing_of_a_compressed_text_is_lost(
    original: str, mode: Mode, role: str, data: st.DataObject
) -> None:
    question = data.draw(st.sampled_from(["When was the tower built?", "What is the x of id 7?"]))
    if role == "user":
        original = f"{original}\n\nQuestion: {question}"
    text = await sent(original, mode, role, question)
    found = marked(text, left_out(original, text), NOTE)
    if found is not None:
        assert restored(*found).encode() == original.encode()


async def test_a_mark_names_the_lines_that_are_missing() -> None:
    text = await sent(LOG, AUTO, "tool", "Why is it slow?")
    spans = left_out(LOG, text)
    found = marked(text, spans, NOTE)
    assert found is not None
    assert "[lines 31-340 left out; tool id=abc start=31 end=340]" in found[0]
    (span,) = spans
    assert (span.line, span.last_line) == (31, 340) and span.text.split("\n") == LOG.split("\n")[30:340]


async def test_equal_lines_do_not_move_the_lines_that_a_mark_names() -> None:
    lines = [f"{line % 3} the same again" for line in range(300)]
    original = "\n".join(lines)
    text = await sent(original, AUTO, "tool", "Why is it slow?")
    spans = left_out(original, text)
    assert [(span.line, span.last_line) for span in spans] == [(31, 240)]
    assert restored(text, spans) == original


async def test_records_stay_json_with_the_note_in_them() -> None:
    original = json.dumps([{"id": number, "load": number / 7} for number in range(60)])
    text = await sent(original, Mode("ratio", 4.0), "tool", "What is the load of id 7?")
    found = marked(text, left_out(original, text), NOTE)
    assert found is not None and restored(*found) == original
    table = json.loads(found[0])
    assert table["columns"] == ["id", "load"] and NOTE in table["rows"][-1]


async def test_an_object_stays_json_with_the_note_in_it() -> None:
    pairs = json.dumps({f"key-{number}": f"value-{number}" for number in range(75)}, indent=1)
    original = f'Find the value.\n\n{pairs}\n\nKey: "key-17"'
    text = await sent(original, AUTO, "user")
    found = marked(text, left_out(original, text), NOTE)
    assert found is not None and restored(*found) == original
    left = json.loads(found[0].split("\n\n")[1])
    assert left["key-17"] == "value-17" and NOTE in left["[left out]"]


def test_missing_sentences_are_told_of_once_at_the_end() -> None:
    original = "One is here. Two is not here. Three is here. Four is not."
    text = "One is here. […] Three is here. […]"
    found = marked(text, left_out(original, text), NOTE)
    assert found is not None and restored(*found) == original
    assert found[0] == f"{text}\n[left out; {NOTE} start=1 end=1]"
    text = "[…] Two is not here. Three is here. Four is not."
    found = marked(text, left_out(original, text), NOTE)
    assert found is not None and restored(*found) == original
    assert found[0] == f"{text}\n[left out; {NOTE} start=1 end=1]"


def test_without_a_mark_there_is_nothing_to_ask_for() -> None:
    original, text = "a line  \n\n\n\nanother  ", "a line\n\nanother"
    assert marked(text, left_out(original, text), NOTE) is None


def test_marks_of_the_callers_own_are_left_alone() -> None:
    original = "He wrote [3 passages left out] there.\n" + "more words here\n" * 20
    assert marked(original, left_out(original, original), NOTE) is None


@pytest.mark.parametrize("size", [400_000])
def test_a_long_text_in_other_words_is_given_up_on(size: int) -> None:
    original = "".join(random.Random(1).choices("abcdefgh .,\n", k=size))
    other = "".join(random.Random(2).choices("ijklmnop .,\n", k=size))
    assert restored(other, left_out(original, other)) == original


class Searched(str):
    """Counts the characters that are looked through."""

    total = 0

    def find(self, *args: Any) -> int:
        place = super().find(*args)
        self.total += (len(self) if place < 0 else place) - args[1]
        return place


def test_a_text_full_of_marks_is_soon_read() -> None:
    original = Searched("".join(f"[…] ab  {line} \n" for line in range(20_000)))
    other = original.replace("  ", " ").replace(" \n", "\n")
    assert restored(other, left_out(original, other)) == original
    assert original.total < 25_000_000
