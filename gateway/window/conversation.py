"""What of a chat may become shorter or be left out, and where it stands in the client's bytes.

May become shorter: documents in users' messages, and what tools have put out. May be left out: turns before
the last, oldest first, and in the last one its older calls of tools with all their results. Never touched:
system and developer messages, the model's own words, tool calls, tools and schemas, what a user asks, and
everything up to the last mark of an upstream's own cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gateway.compression.parts import sentences
from gateway.compression.prompt import MARK, TOOLS, USER, NotReadable, Text, read_messages
from gateway.compression.question import LAST, MOST, SHORT, asking, asks, protected
from gateway.compression.segments import Segment, segments
from gateway.wire.elements import elements

LEAST = 400
"""Characters of a text from which on it may become shorter."""
_TAIL = 400
_SYSTEM = ("system", "developer")
_ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Piece:
    """A text that may become shorter."""

    message: int
    holder: Text
    """The JSON string that it is part of."""
    start: int
    end: int
    question: str
    """What is asked last; empty if it cannot be told."""

    @property
    def text(self) -> str:
        return self.holder.value[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of a request."""

    spans: Sequence[tuple[int, int]]
    """Where each message stands in the body."""
    pieces: Sequence[Piece]
    units: Sequence[frozenset[int]]
    """Messages that are left out together or not at all, the first to go first."""
    texts: Sequence[tuple[int, Text]]
    """All texts that may be changed, with the places of their messages."""
    question: str
    """What is asked last."""


def read_conversation(body: bytes, start: int, end: int) -> Conversation:
    """Return the conversation in `body[start:end]`. Raises NotReadable."""
    messages = read_messages(body, start, end)
    spans = [(start + first, start + last) for first, last in elements(body[start:end])]
    roles = [message.role for message in messages]
    marked = max((place for place, (first, last) in enumerate(spans) if MARK in body[first:last]), default=-1)
    if USER not in roles:
        raise NotReadable("no user has said anything")
    found: list[tuple[int, Text, int, int]] = []
    said: list[str] = []
    for place, message in enumerate(messages):
        if message.role == USER:
            if not (place and roles[place - 1] == USER):
                said = []
            for text in message.texts:
                part = _Split.of(text.value)
                said += part.said
                found += [(place, text, start, end) for start, end in part.free]
        elif message.role in TOOLS:
            found += [(place, text, 0, len(text.value)) for text in message.texts]
    question = "\n".join(_asked(said))[-MOST:]
    pieces = [Piece(*one, question) for one in found if one[3] - one[2] >= LEAST]
    texts = [(place, text) for place, message in enumerate(messages) for text in message.texts]
    last_turn = _last_turn(roles)
    return Conversation(spans, pieces, _units(roles, marked, last_turn), texts, question)


@dataclass(frozen=True, slots=True)
class _Split:
    """A user's text: what is asked, and where the rest of it stands."""

    said: Sequence[str]
    free: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, value: str) -> _Split:
        parts = segments(value)
        kept = protected(parts)
        ranges: list[tuple[int, int]] = []
        position = 0
        for place, part in enumerate(parts):
            end = position + len(part.text)
            if place in kept:
                ranges.append((position, end))
            position = end
        said = [parts[place].text for place in sorted(kept)]
        solid = [place for place, part in enumerate(parts) if part.kind != "gap"]
        if not solid:
            return cls((), ())
        head, tail = parts[solid[0]], parts[solid[-1]]
        # A question that stands in one paragraph with the document: its ends are all that can be told apart.
        if solid[-1] not in kept and tail.kind == "text":
            end = sum(len(part.text) for part in parts[: solid[-1] + 1])
            size = _tail(tail)
            ranges.append((end - size, end))
            said.append(value[end - size : end].strip())
        if solid[0] not in kept and head.kind == "text" and not any(map(asks, said)):
            start = sum(len(part.text) for part in parts[: solid[0]])
            size = _head(head)
            ranges.append((start, start + size))
            if not said:
                said.append(value[start : start + size])
        return cls(list(filter(None, said)), _between(value, ranges))


def _asked(said: Sequence[str]) -> list[str]:
    """Return what asks. If nothing has the form of a question, of two texts the one that is much shorter is
    taken: the other will be the beginning or the end of a document."""
    found = asking(said)
    if len(found) == 2 and 2 * min(map(len, found)) < max(map(len, found)):
        return [min(found, key=len)]
    return found


def _tail(part: Segment) -> int:
    """Return how many characters at the end of a long paragraph may be what is asked."""
    line = part.text[part.text.rfind("\n") + 1 :]
    if len(line) <= LAST:
        return len(line)
    last = sentences(line[-LAST:])
    size = 0
    for sentence in reversed(last[1:]):
        if size and size + len(sentence) > _TAIL:
            break
        size += len(sentence)
    return size


def _head(part: Segment) -> int:
    """The same at the beginning."""
    line, newline, _ = part.text.partition("\n")
    if newline and len(line) <= SHORT:
        return len(line)
    first = sentences(part.text[: 2 * SHORT])
    return len(first[0]) if len(first) > 1 and len(first[0]) <= SHORT else 0


def _between(value: str, kept: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of a text without some ranges, and without the white space at its ends."""
    free: list[tuple[int, int]] = []
    position = 0
    for start, end in [*sorted(kept), (len(value), len(value))]:
        part = value[position:start]
        text = part.strip()
        if text:
            first = position + part.index(text[0])
            free.append((first, first + len(text)))
        position = max(position, end)
    return free


def _last_turn(roles: Sequence[str]) -> int:
    place = max(place for place, role in enumerate(roles) if role == USER)
    while place and roles[place - 1] == USER:
        place -= 1
    return place


def _units(roles: Sequence[str], marked: int, last: int) -> list[frozenset[int]]:
    if not set(roles) <= {USER, _ASSISTANT, *_SYSTEM, *TOOLS}:
        # What belongs together is not known then.
        return []
    starts = [
        place
        for place, role in enumerate(roles[: last + 1])
        if role == USER and (place == 0 or roles[place - 1] != USER)
    ]
    units: list[frozenset[int]] = []
    for start, end in pairwise(starts):
        # A turn without an answer is half of one, and users' messages side by side are refused by some.
        if start > marked and _ASSISTANT in roles[start:end]:
            units.append(frozenset(at for at in range(start, end) if roles[at] not in _SYSTEM))
    begins = [place for place in range(last, len(roles)) if roles[place] == _ASSISTANT]
    for begin, end in pairwise(begins):
        if begin > marked and all(role in TOOLS for role in roles[begin + 1 : end]):
            units.append(frozenset(range(begin, end)))
    return units
