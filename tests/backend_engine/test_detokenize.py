"""Streamed text equals the whole text, whatever the cuts; stop strings never leak."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend_engine.detokenize import IncrementalDetokenizer


def feed(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[list[str], IncrementalDetokenizer]:
    """Push each piece as one token; returns what came out, stopping as the engine does."""
    detokenizer = IncrementalDetokenizer(lambda token: pieces[token], stop)
    out = []
    for token in range(len(pieces)):
        out.append(detokenizer.push(token))
        if detokenizer.stopped:
            return out, detokenizer
    out.append(detokenizer.finish())
    return out, detokenizer


def cut_before_stop(text: str, stop: tuple[str, ...]) -> str:
    """The earliest end of any stop string decides, as it would arrive one character at a time."""
    for end in range(len(text) + 1):
        found = [text[:end].find(s) for s in stop if s in text[:end]]
        if found:
            return text[: min(found)]
    return text


@st.composite
def cut_up(draw: st.DrawFn, alphabet: str | None = None) -> tuple[bytes, list[bytes]]:
    characters = st.text(alphabet=alphabet, max_size=30) if alphabet else st.text(max_size=30)
    raw = draw(characters).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    return raw, [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@given(cut_up())
def test_no_character_is_split(case: tuple[bytes, list[bytes]]) -> None:
    raw, pieces = case
    out, _ = feed(pieces)
    assert "".join(out) == raw.decode()
    assert "\ufffd" not in "".join(out) or "\ufffd" in raw.decode()


@given(st.lists(st.binary(max_size=4), max_size=12))
def test_broken_bytes_become_the_replacement_character(pieces: list[bytes]) -> None:
    out, _ = feed(pieces)
    assert "".join(out) == b"".join(pieces).decode(errors="replace")


@given(cut_up("abc"), st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3))
def test_text_ends_before_the_stop_string(case: tuple[bytes, list[bytes]], stop: list[str]) -> None:
    raw, pieces = case
    out, detokenizer = feed(pieces, tuple(stop))
    given_out = "".join(out)
    assert not any(s in given_out for s in stop)
    # A token can complete two stop strings at once: then the one that begins first cuts.
    assert raw.decode().startswith(given_out)
    assert detokenizer.stopped == any(s in raw.decode() for s in stop)
    one_by_one, _ = feed([bytes([b]) for b in raw], tuple(stop))
    assert "".join(one_by_one) == cut_before_stop(raw.decode(), tuple(stop))


def test_a_tail_that_may_begin_a_stop_string_is_held_and_then_given_out() -> None:
    out, detokenizer = feed([b"one #", b"#", b" two"], ("###",))
    assert out == ["one ", "", "## two", ""]
    assert not detokenizer.stopped


def test_below_min_tokens_a_stop_string_is_ordinary_text() -> None:
    detokenizer = IncrementalDetokenizer(lambda token: b"END", ("END",))
    assert detokenizer.push(0, may_stop=False) == "END"
    assert detokenizer.push(0, may_stop=True) == ""
    assert detokenizer.stopped
