"""Makes a conversation short enough: its largest texts first, and old turns only if that cannot do.

Each text that is too large goes through the strategies in their order until one of them can shorten it. A
text that none can shorten stays, and the others become shorter in its place. What came of it is counted anew,
by the upstream itself if it counts, and what is still too much goes in another round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from gateway.compression.mode import Way
from gateway.errors import ClientDisconnected, Draining, GatewayError
from gateway.window.aside import aside
from gateway.window.base import CannotShorten, Means, Overlong, Strategy
from gateway.window.conversation import Conversation
from gateway.window.edits import edits_of
from gateway.window.level import level
from gateway.window.windows import Overlength
from gateway.wire.splice import Edit

MOST_ROUNDS = 4
LEAST_TOKENS = 160
"""Nothing is made shorter than this, or than an eighth of what the prompt may have."""
ANSWER_TOKENS = 1024
"""Kept for the answers to the strategies' own prompts, if that is at most a quarter of the window."""
_PROMPT_FRAME = 64
"""Tokens that a chat's form takes beside the text of its one message."""
_AIM_LOWER = 0.02
TURNS = "turns"
_NO_ROOM = "what may not be touched leaves too little room"
Recount: TypeAlias = Callable[[Sequence[Edit]], Awaitable[int]]
"""Counts the tokens of the request with some edits made."""


class NothingToShorten(CannotShorten):
    """There is nothing that may become shorter, so nothing was tried."""


@dataclass(frozen=True, slots=True)
class Shortened:
    """A conversation that fits."""

    edits: tuple[Edit, ...]
    tokens: int
    ways: tuple[str, ...]
    left_out: int


@dataclass(slots=True)
class _Progress:
    """How far it has come."""

    tokens: int
    """Of the whole prompt as it is now."""
    texts: dict[int, str] = field(default_factory=dict)
    """New texts of pieces, by number."""
    stuck: set[int] = field(default_factory=set)
    """Pieces that no strategy could make shorter."""
    left_out: frozenset[int] = frozenset()
    ways: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shortening:
    """One attempt."""

    body: bytes
    conversation: Conversation
    too_long: Overlength
    strategies: Sequence[tuple[Way, Strategy]]
    means: Means
    recount: Recount

    async def run(self) -> Shortened:
        """Return what fits. Raises CannotShorten, which says what was tried."""
        limit = self.too_long.limit
        done = _Progress(self.too_long.tokens)
        for number in range(1, MOST_ROUNDS + 1):
            # Somewhat less than there is room for: a text's tokens are known when it has been counted.
            await self._round(done, limit - int(limit * _AIM_LOWER * number))
            edits = await aside(len(self.body), partial(self._edits, done))
            done.tokens = await self.recount(edits)
            if done.tokens <= limit:
                return Shortened(edits, done.tokens, tuple(done.ways), len(done.left_out))
        raise CannotShorten("; ".join(done.reasons) or "it came out too long again and again")

    async def _edits(self, done: _Progress) -> tuple[Edit, ...]:
        return edits_of(self.body, self.conversation, done.texts, done.left_out)

    async def _round(self, done: _Progress, aim: int) -> None:
        while True:
            size = self._leave_out(done, aim)
            larger = [number for number in self._free(done) if self._size(done, number) > size]
            if not larger:
                return
            before = sum(self._size(done, number) for number in larger)
            stuck = await self._shorten(done, larger, size)
            done.tokens -= before - sum(self._size(done, number) for number in larger)
            if not stuck:
                return
            # What they do not give, the others have to.
            done.stuck |= stuck

    def _leave_out(self, done: _Progress, aim: int) -> int:
        """Leave out what must go, and return the size to which texts are then cut. Raises CannotShorten."""
        least = min(LEAST_TOKENS, self.too_long.limit // 8)
        sizes = {number: self._size(done, number) for number in self._free(done)}
        of_message = self._by_message()
        # Added up once: a conversation may have thousands of turns.
        total, smallest = sum(sizes.values()), sum(min(size, least) for size in sizes.values())
        waiting = [unit for unit in self.conversation.units if not unit & done.left_out]
        left_out = set(done.left_out)
        for unit in [*waiting, None]:
            room = aim - (done.tokens - total)
            if smallest <= room:
                done.left_out = frozenset(left_out)
                return level(list(sizes.values()), room)
            if unit is None:
                break
            numbers = [number for place in unit for number in of_message.get(place, ())]
            done.tokens -= self._size_of(done, unit, numbers)
            for number in numbers:
                size = sizes.pop(number, 0)
                total -= size
                smallest -= min(size, least)
            left_out |= unit
            done.ways[TURNS] = None
        if not done.reasons:
            raise NothingToShorten(_NO_ROOM)
        raise CannotShorten("; ".join([*done.reasons, _NO_ROOM]))

    def _by_message(self) -> dict[int, list[int]]:
        """Return the numbers of each message's pieces."""
        found: dict[int, list[int]] = {}
        for number, piece in enumerate(self.conversation.pieces):
            found.setdefault(piece.message, []).append(number)
        return found

    async def _shorten(self, done: _Progress, numbers: Sequence[int], budget: int) -> set[int]:
        """Make texts shorter; return those for which there is no way."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {number: group.create_task(self._one(done, number, budget)) for number in numbers}
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return {number for number, task in tasks.items() if not task.result()}

    async def _one(self, done: _Progress, number: int, budget: int) -> bool:
        piece = self.conversation.pieces[number]
        text = done.texts.get(number, piece.text)
        window = self.too_long.window
        ask_window = max(0, window - min(ANSWER_TOKENS, window // 4) - _PROMPT_FRAME)
        overlong = Overlong(text, piece.question, budget, ask_window)
        for way, strategy in self.strategies:
            try:
                shorter = await strategy.shorten(overlong, self.means)
            except (ClientDisconnected, Draining):
                raise
            except (CannotShorten, GatewayError) as error:
                done.reasons[f"{way}: {error}"] = None
                continue
            if self.too_long.count(shorter) <= budget:
                done.texts[number] = shorter
                done.ways[way] = None
                return True
            done.reasons[f"{way}: it came out too long"] = None
        return False

    def _free(self, done: _Progress) -> list[int]:
        """Return the pieces that may still become shorter."""
        pieces = self.conversation.pieces
        return [
            number
            for number in range(len(pieces))
            if number not in done.stuck and pieces[number].message not in done.left_out
        ]

    def _size(self, done: _Progress, number: int) -> int:
        return self.too_long.count(done.texts.get(number, self.conversation.pieces[number].text))

    def _size_of(self, done: _Progress, unit: frozenset[int], numbers: Sequence[int]) -> int:
        """Return the tokens of messages that are left out together, as they are now; `numbers` are their
        pieces."""
        spans = self.conversation.spans
        # With the commas, as they go: those of thousands of messages come to a window of their own.
        size = sum(self.too_long.count_raw(self.body[spans[at][0] : spans[at + 1][0]]) for at in unit)
        for number in numbers:
            if number in done.texts:
                size -= self.too_long.count(self.conversation.pieces[number].text) - self._size(done, number)
        return size
