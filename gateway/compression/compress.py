"""The pipeline: what becomes of the texts of a conversation, message by message, cheapest stage first.

Invariant: what a message becomes depends on that message, on those before it and on the mode, and on nothing
that comes later. So a conversation that grows keeps the bytes of its prefix, and the upstream its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from gateway.compression import cut, fold
from gateway.compression.mode import STAGES, Mode, Stage
from gateway.compression.parts import Part, part_of
from gateway.compression.perplexity.reading import Read
from gateway.compression.prompt import USER, Message, Text
from gateway.compression.question import MOST, about_form, about_the_whole, asked, protected
from gateway.compression.segments import Segment, segments
from gateway.compression.select import Choice, Rank, above_threshold, within

MIN_CHARS = 600
"""A shorter message is never changed."""
MAX_CHARS = 400_000
"""A longer one neither: the work is done between other requests' events."""
_PASSAGES_LEFT_OUT = "[{} passages left out]"


@dataclass(frozen=True, slots=True)
class Changed:
    """A text and what stands in its place."""

    text: Text
    value: str


@dataclass(slots=True)
class Compressed:
    """What became of a prompt."""

    changes: list[Changed] = field(default_factory=list)
    saved: dict[Stage, int] = field(default_factory=dict)
    """Characters that each stage took away."""
    ranked: bool = False
    """An embedder took part."""

    def note(self, stage: Stage, before: int, after: int) -> None:
        """Add what a stage saved."""
        if after != before:
            self.saved[stage] = self.saved.get(stage, 0) + before - after


async def compress(
    messages: Sequence[Message],
    mode: Mode,
    *,
    stages: Collection[Stage] = STAGES,
    rank: Rank | None = None,
    read: Read | None = None,
) -> Compressed:
    """Return what changes in the texts of a conversation."""
    done, seen, question = Compressed(), fold.Seen(), ""
    for message in messages:
        size = sum(len(text.value) for text in message.texts)
        if message.role == USER:
            question = question_of(message)
        if not MIN_CHARS <= size <= MAX_CHARS or about_form(question):
            continue
        work = _Work(mode, stages, rank, read, done, seen, question, tool=message.role != USER)
        for text in message.texts:
            value = await work.text(text.value)
            if len(value) < len(text.value):
                done.changes.append(Changed(text, value))
    return done


def question_of(message: Message) -> str:
    """Return what a user asks in a message, as far as it can be told from documents."""
    texts = [part for text in message.texts for part in asked(segments(text.value))]
    # The end is nearest to what is wanted: instructions come first, and may be long.
    return "\n".join(texts)[-MOST:]


async def compress_text(text: str, question: str, ratio: float, *, rank: Rank | None = None) -> str:
    """Return a document made `ratio` times smaller, or as small as can be, chosen by a question that is not
    part of it."""
    work = _Work(Mode("ratio", ratio), STAGES, rank, None, Compressed(), fold.Seen(), question, document=True)
    return await work.text(text)


@dataclass(slots=True)
class _Work:
    """The stages for one message."""

    mode: Mode
    stages: Collection[Stage]
    rank: Rank | None
    read: Read | None
    done: Compressed
    seen: fold.Seen
    question: str
    tool: bool = False
    document: bool = False
    """All of it is: no part is a question."""

    async def text(self, value: str) -> str:
        size = len(value)
        whole = self.mode.kind == "auto" and about_the_whole(self.question)
        if self.tool and self.mode.drops and not whole:
            value = self._stage(
                "cut", lambda text: cut.cut_lines(cut.without_noise(text), self.question), value
            )
        parts = segments(value)
        kept = set() if self.tool or self.document else protected(parts)
        selects = not whole and self._selects(parts)
        for place, part in enumerate(parts):
            if place not in kept:
                parts[place] = self._folded(part)
            if not selects:
                self.seen.note(parts[place])
        if selects:
            if self.mode.kind == "auto":
                # Words say little about code, and a question about it means all of it.
                kept |= {place for place, part in enumerate(parts) if part.kind == "code"}
            # What is not certain to stay can't be referred to.
            parts = await self._selected(parts, kept, size)
            for part in parts:
                self.seen.note(part)
        return "".join(part.text for part in parts)

    def _stage(self, stage: Stage, step: Callable[[str], str], text: str) -> str:
        if stage not in self.stages:
            return text
        after = step(text)
        self.done.note(stage, len(text), len(after))
        return after

    def _folded(self, part: Segment) -> Segment:
        if part.kind == "code":
            return part
        if part.kind == "json":
            return Segment("json", self._stage("json", fold.folded_json, part.text))
        text = self._stage("space", fold.folded_space, part.text)
        if part.kind == "text":
            text = self._stage("lines", fold.folded_lines, text)
            again = self.seen.folded(Segment("text", text))
            text = self._stage("duplicates", lambda _: again.text, text)
        return Segment(part.kind, text)

    def _selects(self, parts: Sequence[Segment]) -> bool:
        if not self.mode.drops or "select" not in self.stages or not self.question.strip():
            return False
        if self.mode.kind == "auto" and self.tool:
            return not any(
                part.kind == "code" or cut.looks_like_code(part.text.split("\n"))
                for part in parts
                if part.kind != "json"
            )
        return True

    async def _selected(self, parts: list[Segment], kept: Collection[int], size: int) -> list[Segment]:
        owners: list[int] = []
        choices: list[Part] = []
        for place, part in enumerate(parts):
            if place not in kept and part.kind != "gap":
                found = part_of(part)
                owners += [place] * len(found)
                choices += found
        if len(choices) == 0:
            return parts
        fixed = sum(len(part.text) for place, part in enumerate(parts) if place in kept)
        marks = (len(_PASSAGES_LEFT_OUT) + 4) * _runs(parts, kept)
        chosen = await self._choose(
            choices, int(size / self.mode.ratio) - fixed - marks if self.mode.ratio else 0
        )
        self.done.ranked |= chosen.ranked
        words = 0
        for number, passage in chosen.abridged.items():
            words += len(choices[number].render(chosen.kept[number])) - len(
                passage.render(chosen.kept[number])
            )
            choices[number] = passage
        out = _assembled(parts, kept, owners, choices, chosen)
        self.done.note("prune", words, 0)
        self.done.note("select", _length(parts), _length(out) + words)
        return out

    async def _choose(self, choices: Sequence[Part], budget: int) -> Choice:
        if self.mode.kind == "auto":
            return await above_threshold(self.question, choices, self.rank)
        read = self.read if "prune" in self.stages else None
        return await within(self.question, choices, budget, self.rank, read)


def _runs(parts: Sequence[Segment], kept: Collection[int]) -> int:
    """Return how often something may be left out between two things that stay."""
    free = [place not in kept for place, part in enumerate(parts) if part.kind != "gap"]
    return sum(one and not following for one, following in zip(free, [*free[1:], False], strict=True))


def _length(parts: Sequence[Segment]) -> int:
    return sum(len(part.text) for part in parts)


def _assembled(
    parts: Sequence[Segment],
    kept: Collection[int],
    owners: Sequence[int],
    choices: Sequence[Part],
    chosen: Choice,
) -> list[Segment]:
    """Return the segments with what was chosen; a gap goes with what stood behind it."""
    of_place: dict[int, list[int]] = {place: [] for place in owners}
    for number, owner in enumerate(owners):
        of_place[owner].append(number)
    out: list[Segment] = []
    gap: Segment | None = None
    gone = told = 0
    for place, part in enumerate(parts):
        if part.kind == "gap" and place not in kept:
            gap = gap or part
            continue
        text = part.text
        if place not in kept:
            mine = of_place[place]
            text = "".join(choices[number].render(chosen.kept[number]) for number in mine)
            gone += sum(not chosen.kept[number] for number in mine)
            if not text:
                continue
        if gone > told and place in kept:
            out += [Segment("gap", "\n\n"), Segment("text", _PASSAGES_LEFT_OUT.format(gone - told))]
            told = gone
        if gap is not None and out:
            out.append(gap)
        gap = None
        out.append(Segment(part.kind, text))
    if gone > told:
        out += [Segment("gap", "\n\n"), Segment("text", _PASSAGES_LEFT_OUT.format(gone - told))]
    return out
