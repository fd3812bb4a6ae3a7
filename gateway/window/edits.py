"""Puts shorter texts into the client's bytes, to the byte: all that stays is as it was written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.compression.prompt import Text
from gateway.window.conversation import Conversation
from gateway.wire.splice import Edit

_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")
LEFT_OUT = "[{} earlier messages of this conversation left out]\n\n"


def edits_of(
    body: bytes, conversation: Conversation, shorter: Mapping[int, str], left_out: frozenset[int]
) -> tuple[Edit, ...]:
    """Return the edits: `shorter` has the new text of a piece by its number, `left_out` messages.

    A note of how many there were stands at the beginning of the first text behind them that may be changed.
    """
    edits = [
        Edit(conversation.spans[place][0], conversation.spans[place + 1][0], b"")
        for place in sorted(left_out)
        # There always is a next one: the last message stays.
    ]
    if left_out:
        following = [text for place, text in conversation.texts if place not in left_out]
        behind = [text for text in following if text.start > conversation.spans[max(left_out)][1]]
        if note_at := (behind or following)[:1]:
            start = note_at[0].start + 1
            edits.append(Edit(start, start, _escaped(LEFT_OUT.format(len(left_out)))))
    by_holder: dict[Text, list[int]] = {}
    for number in shorter:
        if conversation.pieces[number].message not in left_out:
            by_holder.setdefault(conversation.pieces[number].holder, []).append(number)
    for holder, numbers in by_holder.items():
        pieces = [conversation.pieces[number] for number in numbers]
        places = raw_places(body, holder, [place for piece in pieces for place in (piece.start, piece.end)])
        for number, piece in zip(numbers, pieces, strict=True):
            edits.append(Edit(places[piece.start], places[piece.end], _escaped(shorter[number])))
    return tuple(edits)


def raw_places(body: bytes, holder: Text, places: Iterable[int]) -> dict[int, int]:
    """Return where in the body characters of a JSON string's value stand."""
    raw = body[holder.start + 1 : holder.end - 1].decode()
    wanted = sorted(set(places))
    found: dict[int, int] = {}
    # Of the value and of the raw text: how far both have been walked together, and bytes up to there.
    at, raw_at, size = 0, 0, holder.start + 1

    def take(until: int) -> None:
        nonlocal wanted
        while wanted and wanted[0] - at <= until - raw_at:
            place = wanted.pop(0)
            found[place] = size + len(raw[raw_at : raw_at + place - at].encode())

    for escape in _ESCAPE.finditer(raw):
        if not wanted:
            break
        take(escape.start())
        size += len(raw[raw_at : escape.end()].encode())
        at += escape.start() - raw_at + 1
        raw_at = escape.end()
    take(len(raw))
    return found


def _escaped(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]


def size_change(edits: Sequence[Edit]) -> int:
    """Return by how many bytes the edits make a body smaller."""
    return sum(edit.end - edit.start - len(edit.text) for edit in edits)
