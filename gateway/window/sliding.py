"""Strategy `window`: the whole text is read, window by window, and notes stand in its place.

Every window is asked the question. A large model writes down what it finds; a tiny one always writes
something. So a sentence of a note counts only if a place in its window bears it out, and that place comes
with it. The sentences of the text that fit the question best come in any case. If the notes do not fit,
groups of them are asked in the same way, again with their sentences.

A window's prompt begins with its text and ends with the question, and says nothing about other windows:
other questions about the text share its prefix, and an equal question its answer, also if the text has grown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from gateway.errors import GatewayError
from gateway.window.asking import ask_each, enough_calls
from gateway.window.base import CannotShorten, Means, Overlong, Progress
from gateway.window.chunks import Chunk, packed
from gateway.window.grounding import Source
from gateway.window.notes import Place, borne_out
from gateway.window.relevance import LIKELY, UNIT_TOKENS, Relevance, pieces_of, relevance

WINDOW_TOKENS = 2000
"""Small models lose what stands in a long window, and reading two halves takes less time than the whole."""
MOST_WINDOWS = 48
"""With more, windows are made larger, as far as the model can read them."""
FRAME_STEP = 128
"""Tokens to which what stands around a window is rounded up."""
LEAST_WINDOW = 4 * UNIT_TOKENS
OVERLAP_TOKENS = 100
NOTE_TOKENS = 80
BEST_PIECES = 24
"""Pieces of all the text that come in any case."""
MOST_LEVELS = 5
_PROMPT = """Text:

{text}

This is one part of a longer text. Write down in one or two sentences what this part says that helps to \
answer the question below. Copy names and numbers exactly. If this part says nothing about it, write only: \
NOTHING

Question: {question}"""
_MERGE_PROMPT = """Notes:

{text}

These are notes on parts of a longer text, with sentences of the text itself. Write down in one or two \
sentences what they say that helps to answer the question below. Copy names and numbers exactly. If they say \
nothing about it, write only: NOTHING

Question: {question}"""
_HEAD = (
    "[Notes on a longer text that was read in {} parts, with sentences of it. What is not here was left out.]"
)


@dataclass(frozen=True, slots=True)
class _Section:
    """What is known of some neighbouring windows."""

    windows: range
    note: str = ""
    pieces: Sequence[int] = ()
    """Places of pieces of the text, in its order."""
    unread: Sequence[int] = ()
    """Windows that could not be asked."""


class SlidingWindow:
    """Asks each part of the text."""

    name = "window"

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        """Return notes on all of the text, in its order, each with sentences of its part.

        Raises CannotShorten if there is no question or no room, and the last error if all windows failed.
        """
        if not overlong.question.strip():
            raise CannotShorten("there is no question to ask of each part")
        work = await self._begun(overlong, means)
        sections = await self._asked(work)
        for level in range(2, MOST_LEVELS + 1):
            if len(sections) == 1 or means.count(work.render(sections)) <= overlong.budget:
                break
            groups = work.groups(sections)
            if len(groups) == len(sections):
                break
            sections = await self._merged(work, groups, level)
        return await asyncio.to_thread(work.fitted, sections)

    async def _begun(self, overlong: Overlong, means: Means) -> _Work:
        frame = means.count(_PROMPT.format(text="", question=overlong.question))
        # In steps, or each question would have windows of its own.
        room = overlong.window - -(-frame // FRAME_STEP) * FRAME_STEP
        if room < LEAST_WINDOW:
            raise CannotShorten(f"{overlong.window} tokens hold no part of the text beside the question")
        found = await relevance(
            overlong.text,
            overlong.question,
            means,
            lambda done, of: means.progress(Progress(self.name, "passages", done, of)),
            pieces_of,
        )
        size = _window_size(sum(unit.tokens for unit in found.units), room)
        windows = await asyncio.to_thread(packed, found.units, size, min(OVERLAP_TOKENS, size // 8))
        return _Work(overlong, means, found, windows, room, frozenset(found.best_first[:BEST_PIECES]))

    async def _asked(self, work: _Work) -> list[_Section]:
        enough_calls(len(work.windows), work.means)
        text, question = work.overlong.text, work.overlong.question
        texts = [text[window.start : window.end] for window in work.windows]
        answers = await ask_each(
            work.means.ask,
            [_PROMPT.format(text=part, question=question) for part in texts],
            NOTE_TOKENS,
            lambda done, of: work.means.progress(Progress(self.name, "windows", done, of)),
        )
        return await asyncio.to_thread(
            lambda: [
                work.section(range(place, place + 1), answer, text, pieces)
                for place, (text, answer, pieces) in enumerate(
                    zip(texts, answers, work.pieces_by_window(), strict=True)
                )
            ]
        )

    async def _merged(self, work: _Work, groups: Sequence[Sequence[_Section]], level: int) -> list[_Section]:
        texts = [work.render(group) for group in groups]
        question = work.overlong.question
        answers = await ask_each(
            work.means.ask,
            [_MERGE_PROMPT.format(text=part, question=question) for part in texts],
            NOTE_TOKENS,
            lambda done, of: work.means.progress(Progress(self.name, f"notes, level {level}", done, of)),
        )
        merged = []
        for group, part, answer in zip(groups, texts, answers, strict=True):
            windows = range(group[0].windows.start, group[-1].windows.stop)
            pieces = [piece for section in group for piece in section.pieces]
            unread = [window for section in group for window in section.unread]
            # Notes that could not be merged are not lost: their best sentences are still there.
            said = "" if isinstance(answer, GatewayError) else answer
            merged.append(replace(work.section(windows, said, part, pieces), unread=unread))
        return merged


def _window_size(tokens: int, room: int) -> int:
    size = min(WINDOW_TOKENS, room)
    # Doubled, so that the windows of a growing text seldom move.
    while size * MOST_WINDOWS < tokens and size < room:
        size = min(2 * size, room)
    return size


@dataclass(frozen=True, slots=True)
class _Work:
    """One text, its windows, and its pieces by their worth."""

    overlong: Overlong
    means: Means
    found: Relevance
    windows: Sequence[Chunk]
    room: int
    """Tokens of notes that one prompt can have."""
    best: Set[int]
    """Pieces that come in any case."""

    def pieces_by_window(self) -> list[list[int]]:
        """Return the pieces of each window; a piece belongs to the window in which it begins."""
        in_window: list[list[int]] = []
        piece = 0
        for window in self.windows:
            mine: list[int] = []
            while piece < len(self.found.passages) and self.found.passages[piece].start < window.end:
                mine.append(piece)
                piece += 1
            in_window.append(mine)
        return in_window

    def section(
        self, windows: range, answer: str | GatewayError, part: str, pieces: Sequence[int]
    ) -> _Section:
        """Return what pieces bear out of an answer, with these pieces and those that come in any case."""
        best = self.best & set(pieces)
        if isinstance(answer, GatewayError):
            return _Section(windows, "", sorted(best), [windows.start])
        places = [
            Place(piece, Source(self._text(piece)), piece in best or self.found.scores[piece] >= LIKELY)
            for piece in pieces
        ]
        note, bearing = borne_out(answer, self.overlong.question, part, places)
        return _Section(windows, note, sorted({*best, *bearing}))

    def _text(self, piece: int) -> str:
        return self.overlong.text[self.found.passages[piece].start : self.found.passages[piece].end]

    def groups(self, sections: Sequence[_Section]) -> list[list[_Section]]:
        """Return neighbours together, as many as one prompt can have."""
        groups: list[list[_Section]] = []
        used = 0
        for section in sections:
            tokens = self.means.count(self._section(section)) + 2
            if groups and used + tokens <= min(self.room, WINDOW_TOKENS):
                groups[-1].append(section)
                used += tokens
            else:
                groups.append([section])
                used = tokens
        return groups

    def fitted(self, sections: Sequence[_Section]) -> str:
        """Return the text; without the worst pieces if there is no room for all, then without notes."""
        pieces = {piece for section in sections for piece in section.pieces}
        worst_first = [piece for piece in reversed(self.found.best_first) if piece in pieces]
        while True:
            text = self.render(
                [
                    _Section(
                        one.windows, one.note, [piece for piece in one.pieces if piece in pieces], one.unread
                    )
                    for one in sections
                ]
            )
            if (tokens := self.means.count(text)) <= self.overlong.budget:
                return text
            if len(worst_first) > 1:
                gone = max(1, int(len(worst_first) * (1 - self.overlong.budget / tokens)) // 2)
                pieces -= set(worst_first[:gone])
                del worst_first[:gone]
            elif any(section.note for section in sections):
                sections = [_Section(one.windows, "", one.pieces, one.unread) for one in sections]
            else:
                raise CannotShorten(f"no notes fit into {self.overlong.budget} tokens")

    def render(self, sections: Sequence[_Section]) -> str:
        """Return the notes as the last call reads them."""
        said = [text for section in sections if (text := self._section(section))]
        return "\n\n".join([_HEAD.format(len(self.windows)), *said])

    def _section(self, section: _Section) -> str:
        lines = [f"[Part {window + 1} could not be read]" for window in section.unread]
        first, last = section.windows.start + 1, section.windows.stop
        if section.note or section.pieces:
            lines.append(f"[Part {first}]" if first == last else f"[Parts {first} to {last}]")
        if section.note:
            lines.append(f"Note: {section.note}")
        if section.pieces:
            lines += ["From the text:", *self._quoted(section.pieces)]
        return "\n".join(lines)

    def _quoted(self, pieces: Sequence[int]) -> list[str]:
        """Return pieces of the text, neighbours in one."""
        out: list[str] = []
        end = -1
        for piece in pieces:
            passage = self.found.passages[piece]
            quoted = self._text(piece)
            if passage.start == end:
                out[-1] += quoted
            else:
                out.append(quoted)
            end = passage.end
        return [f"“{quoted.strip()}”" for quoted in out]
