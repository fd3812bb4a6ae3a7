"""Strategy `summarise`: summaries of parts, and of summaries, stand in the text's place.

It is for questions about the whole: what is it about, what happened. Parts are summarised without the
question, from prompts that depend on nothing but the part: any question about the text finds the answers in
the cache, and so does a text that has grown, but for its last part. Groups of summaries are taken from the
left, always as many, for the same reason.

Merging summaries amplifies what was made up (arXiv 2502.00977). So with every summary go the sentences of the
text that say most of what it says, at every level; and a sentence with a number or an id that its part of the
text does not have is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.compression import bm25
from gateway.compression.parts import sentences
from gateway.errors import GatewayError
from gateway.window.asking import ask_each, enough_calls
from gateway.window.base import CannotShorten, Means, Overlong, Progress
from gateway.window.chunks import Chunk, packed
from gateway.window.grounding import Source, finished
from gateway.window.relevance import LIKELY, UNIT_TOKENS, Relevance, pieces_of, relevance
from gateway.window.units import units

SUMMARY_TOKENS = (64, 320)
"""A summary's least and most tokens; between them an eighth of the budget."""
PART_TOKENS = 10
"""A part has so many times the tokens of its summary, if the model can read them."""
SOURCE_SHARE = 0.5
"""Tokens of source sentences that go with a summary, as a share of the summary's."""
MOST_TOGETHER = 6
BEST_PIECES = 4
"""Pieces that fit the question best and come in any case."""
LEAST_PART = 4 * UNIT_TOKENS
MOST_SENTENCE = 100
"""Tokens of a source sentence at most."""
LEAST_SUPPORT = 0.6
"""Share of a summary's words that must stand in its part of the text."""
_WORDS_PER_TOKEN = 0.6
_LABELS_TOKENS = 40
_PROMPT = """Text:

{text}

Summarise the text above in at most {words} words. Say only what stands in it. Copy names and numbers \
exactly."""
_MERGE_PROMPT = """Summaries of consecutive parts of a text, with sentences of the text itself:

{text}

Join them into one summary of at most {words} words. Say only what stands above. Copy names and numbers \
exactly."""
_HEAD = "[Summaries of a longer text in {} parts, with sentences of it. What is not here was left out.]"
_FOUND = "[Sentences of the text that fit the question]"


@dataclass(frozen=True, slots=True)
class _Node:
    """A summary of neighbouring parts, with sentences of the text."""

    parts: range
    summary: str = ""
    source: Sequence[str] = ()
    unread: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How many tokens everything may have; they depend on budget and window, never on the text."""

    summary: int
    source: int
    part: int
    together: int
    """Summaries that are merged into one."""

    @property
    def words(self) -> int:
        return int(self.summary * _WORDS_PER_TOKEN)


class HierarchicalSummary:
    """Summarises parts, then groups of summaries, until they fit."""

    name = "summarise"

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        """Return summaries of all of the text, in its order, and what fits the question where there is room.

        Raises CannotShorten if there is no room, and the last error if no part could be summarised.
        """
        sizes = _sizes(overlong, means)
        parts = await asyncio.to_thread(_parts, overlong.text, sizes.part, means)
        work = _Work(overlong, means, sizes, parts)
        nodes = await self._summarised(work)
        level = 1
        while len(nodes) > 1 and means.count(work.render(nodes)) > overlong.budget:
            level += 1
            nodes = await self._merged(work, nodes, level)
        text = work.fitted(nodes)
        if not overlong.question.strip():
            return text
        found = await relevance(
            overlong.text,
            overlong.question,
            means,
            lambda done, of: means.progress(Progress(self.name, "passages", done, of)),
            pieces_of,
        )
        return await asyncio.to_thread(work.with_found, text, found)

    async def _summarised(self, work: _Work) -> list[_Node]:
        enough_calls(len(work.parts), work.means)
        texts = [work.text(range(place, place + 1)) for place in range(len(work.parts))]
        answers = await ask_each(
            work.means.ask,
            [_PROMPT.format(text=text.strip(), words=work.sizes.words) for text in texts],
            work.sizes.summary,
            self._reporter(work, 1),
        )
        return await asyncio.to_thread(
            lambda: [
                work.node(range(place, place + 1), answer, sentences(text))
                for place, (text, answer) in enumerate(zip(texts, answers, strict=True))
            ]
        )

    async def _merged(self, work: _Work, nodes: Sequence[_Node], level: int) -> list[_Node]:
        size = work.sizes.together
        groups = [nodes[first : first + size] for first in range(0, len(nodes), size)]
        asked = [group for group in groups if len(group) > 1]
        answers = await ask_each(
            work.means.ask,
            [
                _MERGE_PROMPT.format(
                    text=work.said([replace(child, unread=()) for child in group]), words=work.sizes.words
                )
                for group in asked
            ],
            work.sizes.summary,
            self._reporter(work, level),
        )
        return await asyncio.to_thread(work.merged, groups, answers)

    def _reporter(self, work: _Work, level: int) -> Callable[[int, int], None]:
        step = f"summaries, level {level}"
        return lambda done, of: work.means.progress(Progress(self.name, step, done, of))


def _sizes(overlong: Overlong, means: Means) -> _Sizes:
    least, most = SUMMARY_TOKENS
    frame = max(means.count(prompt.format(text="", words=999)) for prompt in (_PROMPT, _MERGE_PROMPT))
    room = overlong.window - frame
    summary = max(least, min(most, overlong.budget // 8, room // 4))
    source = int(summary * SOURCE_SHARE)
    together = min(MOST_TOGETHER, room // (summary + source + _LABELS_TOKENS))
    if room < LEAST_PART or together < 2:
        raise CannotShorten(f"{overlong.window} tokens hold no two summaries")
    return _Sizes(summary, source, min(PART_TOKENS * summary, room), together)


def _parts(text: str, most: int, means: Means) -> list[Chunk]:
    return packed(units(text, UNIT_TOKENS, means.count), most, 0)


@dataclass(frozen=True, slots=True)
class _Work:
    """One text and its parts."""

    overlong: Overlong
    means: Means
    sizes: _Sizes
    parts: Sequence[Chunk]

    def text(self, parts: range) -> str:
        """Return what the text has in some parts."""
        return self.overlong.text[self.parts[parts.start].start : self.parts[parts.stop - 1].end]

    def node(self, parts: range, answer: str | GatewayError, candidates: Sequence[str]) -> _Node:
        """Return what is to be kept of an answer, with the candidate sentences that it is made of."""
        if isinstance(answer, GatewayError):
            unread = [parts.start] if len(parts) == 1 else []
            return _Node(parts, "", self._sources("", candidates), unread)
        source = Source(self.text(parts))
        summary = source.grounded(finished(answer))
        if source.support(summary) < LEAST_SUPPORT:
            summary = ""
        return _Node(parts, summary, self._sources(summary, candidates))

    def merged(self, groups: Sequence[Sequence[_Node]], answers: Sequence[str | GatewayError]) -> list[_Node]:
        """Return one summary for each group; nothing was asked for one that is alone, and it stays."""
        answer = iter(answers)
        found: list[_Node] = []
        for group in groups:
            if len(group) == 1:
                found += group
                continue
            parts = range(group[0].parts.start, group[-1].parts.stop)
            node = self.node(parts, next(answer), [line for child in group for line in child.source])
            found.append(replace(node, unread=[part for child in group for part in child.unread]))
        return found

    def _sources(self, summary: str, candidates: Sequence[str]) -> list[str]:
        """Return the sentences that say most of what a summary says, in order; the first ones without one."""
        worth = bm25.scores(summary, candidates)
        # Where there is no summary, these stand for it.
        left = self.sizes.source if summary else self.sizes.source + self.sizes.summary
        chosen: list[int] = []
        for place in sorted(range(len(candidates)), key=lambda place: (-worth[place], place)):
            tokens = self.means.count(candidates[place])
            if tokens <= min(left, MOST_SENTENCE) and candidates[place].strip():
                chosen.append(place)
                left -= tokens
        return [candidates[place].strip() for place in sorted(chosen)]

    def fitted(self, nodes: Sequence[_Node]) -> str:
        """Return the text, without source sentences if there is no room for them."""
        for attempt in (nodes, [replace(node, source=()) for node in nodes if node.summary]):
            if attempt and self.means.count(text := self.render(attempt)) <= self.overlong.budget:
                return text
        raise CannotShorten(f"no summary fits into {self.overlong.budget} tokens")

    def with_found(self, text: str, found: Relevance) -> str:
        """Return the text with pieces that are likely to fit the question, as far as there is room."""
        left = self.overlong.budget - self.means.count(text) - self.means.count(_FOUND) - 2
        chosen: list[int] = []
        for order, place in enumerate(found.best_first):
            tokens = found.passages[place].tokens + 2
            if (order < BEST_PIECES or found.scores[place] >= LIKELY) and tokens <= left:
                chosen.append(place)
                left -= tokens
        if not chosen:
            return text
        pieces = [found.passages[place] for place in sorted(chosen)]
        quoted = [f"“{self.overlong.text[piece.start : piece.end].strip()}”" for piece in pieces]
        return "\n".join([text, "", _FOUND, *quoted])

    def render(self, nodes: Sequence[_Node]) -> str:
        """Return the summaries as the last call reads them."""
        return _HEAD.format(len(self.parts)) + "\n\n" + self.said(nodes)

    def said(self, nodes: Sequence[_Node]) -> str:
        """Return summaries with their parts' numbers and sentences."""
        return "\n\n".join(text for node in nodes if (text := _said(node)))


def _said(node: _Node) -> str:
    lines = [f"[Part {part + 1} could not be read]" for part in node.unread]
    first, last = node.parts.start + 1, node.parts.stop
    if node.summary or node.source:
        lines.append(f"[Part {first}]" if first == last else f"[Parts {first} to {last}]")
    if node.summary:
        lines.append(f"Summary: {node.summary}")
    if node.source:
        lines += ["From the text:", *(f"“{line}”" for line in node.source)]
    return "\n".join(lines)
