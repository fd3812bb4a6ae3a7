"""What is said twice is said once; what means something stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compression.fold import Seen, folded_json, folded_lines, folded_space
from gateway.compression.segments import Segment


def test_equal_lines_in_a_row_are_counted() -> None:
    line = "12:00 connection refused, trying again in a second"
    assert folded_lines("\n".join(["start", *[line] * 40, "end"])) == (
        f"start\n{line}\n[the line above 39 more times]\nend"
    )


@given(
    st.lists(st.sampled_from(["a", "", "a line that is long enough to be worth folding", "}"]), max_size=12)
)
def test_unfolding_lines_gives_them_back(lines: list[str]) -> None:
    out: list[str] = []
    for line in folded_lines("\n".join(lines)).split("\n"):
        if line.startswith("[the line above "):
            out += [out[-1]] * int(line.split()[3])
        else:
            out.append(line)
    assert out == (lines or [""])


def test_white_space_that_says_nothing_goes_and_indentation_stays() -> None:
    assert folded_space("a  \n\n\n\n    b\t\n  c") == "a\n\n    b\n  c"


@pytest.mark.parametrize("text", ["{no json}", '{"a":1,"a":2}', '{"a":1}'])
def test_what_cannot_be_folded_is_as_it_was(text: str) -> None:
    assert folded_json(text) == text


def test_a_passage_that_came_before_is_referred_to() -> None:
    seen, passage = Seen(), Segment("text", "The mill by the river was built in 1704. " * 8)
    assert seen.folded(passage) is passage
    seen.note(passage)
    again = seen.folded(passage)
    assert again.text.startswith("[same as the earlier passage that begins: The mill by the river")
    assert len(again.text) < len(passage.text) / 2


def test_a_short_passage_is_repeated() -> None:
    seen, passage = Seen(), Segment("text", "Short.")
    seen.note(passage)
    assert seen.folded(passage) is passage
