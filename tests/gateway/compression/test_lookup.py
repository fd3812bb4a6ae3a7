"""A model gets the lines that it asks for, or the passages that fit its words, and never too much at once."""

from __future__ import annotations

from gateway.compression.lookup import MOST_CHARS, look_up
from gateway.compression.spans import left_out

LINES = [f"line {number} says {'gold' if number == 77 else 'sand'}" for number in range(1, 101)]
ORIGINAL = "\n".join(LINES)
SENT = "\n".join([*LINES[:10], "[lines 11-90 left out]", *LINES[90:]])
SPANS = left_out(ORIGINAL, SENT)


def test_all_of_it() -> None:
    assert look_up(SPANS) == "[lines 11-90]\n" + "\n".join(LINES[10:90])


def test_some_lines() -> None:
    assert look_up(SPANS, 20, 22) == "[lines 20-22]\n" + "\n".join(LINES[19:22])
    assert look_up(SPANS, 1, 12) == "[lines 11-12]\n" + "\n".join(LINES[10:12])
    assert look_up(SPANS, 89) == "[lines 89-90]\n" + "\n".join(LINES[88:90])
    assert look_up(SPANS, -5, 11) == "[lines 11-11]\n" + LINES[10]


def test_what_was_not_left_out_is_not_there() -> None:
    assert look_up(SPANS, 1, 5) is None and look_up(SPANS, 91) is None and look_up(SPANS, 50, 40) is None
    assert look_up([]) is None


def test_passages_that_fit_a_query() -> None:
    found = look_up(SPANS, query="Where is gold?")
    assert found is not None and LINES[76] in found and len(found) < 1200
    assert look_up(SPANS, query="platinum") is None
    assert look_up(SPANS, 11, 70, "gold") is None


def test_an_empty_query_is_none() -> None:
    assert look_up(SPANS, 20, 20, "  ") == look_up(SPANS, 20, 20)


def test_several_spans_keep_their_order_and_their_lines() -> None:
    sent = "\n".join(
        [*LINES[:10], "[lines 11-40 left out]", *LINES[40:60], "[lines 61-90 left out]", *LINES[90:]]
    )
    found = look_up(left_out(ORIGINAL, sent))
    assert found is not None
    assert [line for line in found.split("\n") if line.startswith("[")] == ["[lines 11-40]", "[lines 61-90]"]


def test_a_long_result_says_where_it_goes_on() -> None:
    long = "\n".join(f"line {number} " + "x" * 90 for number in range(1, 1001))
    spans = left_out(long, "[lines 1-1000 left out]")
    found = look_up(spans)
    assert found is not None and len(found) <= MOST_CHARS + 200
    again = int(found.split("ask again from line ")[1].split(",")[0])
    following = look_up(spans, again)
    assert following is not None and following.split("\n")[1] == long.split("\n")[again - 1]
    last_whole = found.split("\n")[-3]
    assert long.split("\n").index(last_whole) + 2 == again


def test_long_lines_are_found_in_parts() -> None:
    line = "sand " * 2000 + "gold here " + "sand " * 2000
    found = look_up(left_out(line, "[…]"), query="gold")
    assert found is not None and "gold here" in found and len(found) <= 1100
