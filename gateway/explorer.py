"""Finds out in the background whether a stored answer would have been right for another question.

The fresh answer is there anyway; comparing it with the stored one is the label that the semantic tier learns
from. Texts and vectors are compared by the semantic process; where that cannot tell, a model may be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.cache_state import Asked, CacheState
from gateway.exchange import Exchange
from gateway.judge import Judge
from semantic_cache.entry import Entry
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Learn, Learned
from semantic_cache.semantic.question import answer_text
from telemetry.metrics import GatewayMetrics

MAX_COMPARISONS = 64
"""Beyond this many at once, labels are passed up: the process has better things to do."""
PATIENCE_S = 10.0


class Explorer:
    """Compares answers."""

    def __init__(self, client: SemanticClient, judge: Judge | None, metrics: GatewayMetrics) -> None:
        self._client = client
        self._judge = judge
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Break off what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def comparing(
        self, ex: Exchange, state: CacheState, asked: Asked, ticket: int, key: ExactKey, entry: Entry
    ) -> Callable[[bytes], None]:
        """Return what takes the fresh answer (`Entry.answer`) and compares it with the entry's."""

        def compare(fresh: bytes) -> None:
            if len(self._tasks) >= MAX_COMPARISONS:
                return
            work = self._compare(ex, asked.text, ticket, answer_text(fresh), answer_text(entry.answer))
            task = asyncio.create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return compare

    async def _compare(self, ex: Exchange, question: str, ticket: int, fresh: str, stored: str) -> None:
        learned = await self._client.ask(Learn(ticket, None, fresh, stored), Learned, PATIENCE_S)
        same = None if learned is None else learned.same
        self._metrics.semantic_label("answers", same)
        if same is not None or learned is None or self._judge is None:
            return
        same = await self._judge.agrees(ex, question, fresh, stored)
        self._metrics.semantic_label("judge", same)
        if same is not None:
            await self._client.ask(Learn(ticket, same), Learned, PATIENCE_S)
