"""Compares the parts of a long text with a question, in the semantic process if there is one."""

from __future__ import annotations

from collections.abc import Sequence

from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Rank as AskRank
from semantic_cache.semantic.protocol import Ranked

AT_ONCE_CHARS = 16_000
"""Characters in one call: the process answers other requests' questions between two."""
DEADLINE_S = 5.0
"""For one call; about ten times what it takes on a small machine."""


class Ranking:
    """The way to that process."""

    def __init__(self, client: SemanticClient | None) -> None:
        self._client = client

    async def rank(self, question: str, texts: Sequence[str]) -> list[float] | None:
        """Return each text's similarity to the question; None if nobody can say."""
        if self._client is None:
            return None
        found: list[float] = []
        for batch in _batches(texts):
            ranked = await self._client.ask(AskRank(question, batch), Ranked, DEADLINE_S)
            if ranked is None or len(ranked.similarities) != len(batch):
                return None
            found += ranked.similarities
        return found


def _batches(texts: Sequence[str]) -> list[list[str]]:
    batches: list[list[str]] = []
    size = 0
    for text in texts:
        if not batches or size + len(text) > AT_ONCE_CHARS:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text)
    return batches
