"""Units put together are the text; what belongs together is one of them where it fits."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.window.units import units
from tests.gateway.window.strategy_means import count, document

PIECES = st.sampled_from(
    [
        "One sentence. ",
        "Another; with a clause! ",
        "Heading",
        "\n",
        "\n\n",
        " \n \n",
        "```\nx = 1\n\ny = 2\n```\n",
        '[{"a": 1, "b": "é"}, {"a": 2, "b": "ü"}, {"a": 3, "b": "x"}, {"a": 4, "b": "y"}]\n',
        "x" * 70,
        "{",
        "日本語の文です。",
        "- a point\n",
        "\u2028",
        "\r\n",
        " ",
    ]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=200)


def slices(text: str, most: int) -> list[str]:
    return [text[unit.start : unit.end] for unit in units(text, most, count)]


@given(TEXTS, st.integers(4, 60))
def test_units_are_the_text_in_pieces_that_fit(text: str, most: int) -> None:
    found = units(text, most, count)
    assert "".join(text[unit.start : unit.end] for unit in found) == text
    assert all(unit.start < unit.end and unit.tokens == count(text[unit.start : unit.end]) for unit in found)
    assert all(unit.tokens <= most for unit in found)
    assert [unit.block for unit in found] == sorted(unit.block for unit in found)


def test_a_sentence_is_a_unit_and_a_heading_is_of_one_block_with_its_paragraph() -> None:
    text = "# Mills\n\nThe mill is old. It was built in 1704.\n\nNext one. It is new."
    assert slices(text, 100) == [
        "# Mills\n\n",
        "The mill is old. ",
        "It was built in 1704.\n\n",
        "Next one. ",
        "It is new.",
    ]
    assert [unit.block for unit in units(text, 100, count)] == [0, 0, 0, 1, 1]


def test_code_is_whole_where_it_fits_and_cut_at_lines_where_it_does_not() -> None:
    code = "```\n" + "".join(f"line_{number} = {number}\n" for number in range(20)) + "```"
    assert slices(code, 200) == [code]
    assert all(piece.endswith("\n") for piece in slices(code, 20)[:-1])


def test_records_of_json_are_whole() -> None:
    records = [{"id": number, "name": f"né {number}", "tags": ["a,b", "[c]"]} for number in range(30)]
    text = json.dumps(records, ensure_ascii=False)
    # Whole JSON that fits is one unit.
    assert slices(text, 10_000) == [text]
    found = slices(text, 40)
    assert len(found) == 30
    assert [json.loads(piece.strip("[, ").removesuffix("]")) for piece in found] == records


def test_words_are_cut_only_if_they_do_not_fit() -> None:
    text = "alpha beta gamma delta " * 50
    assert all(
        word in {"alpha", "beta", "gamma", "delta"} for piece in slices(text, 10) for word in piece.split()
    )
    assert len(slices("x" * 400, 10)) == 10


@given(st.integers(1, 30), st.integers(1, 10))
def test_the_beginning_of_a_growing_text_keeps_its_units(before: int, more: int) -> None:
    short, long = document(before), document(before + more)
    of_short = units(short, 64, count)
    kept = [unit for unit in of_short if unit.block < of_short[-1].block]
    assert units(long, 64, count)[: len(kept)] == kept
