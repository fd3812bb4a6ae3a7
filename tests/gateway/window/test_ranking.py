"""Long texts are compared in portions, and by nobody if one of them is not."""

from __future__ import annotations

from typing import Any, cast

from gateway.window.ranking import AT_ONCE_CHARS, Ranking
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Rank, Ranked


class Client:
    """Says how long each text is, until it has had enough."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    async def ask(self, call: Rank, kind: Any, deadline_s: float) -> Ranked | None:
        self.sizes.append(sum(map(len, call.texts)))
        return Ranked([float(len(text)) for text in call.texts]) if len(self.sizes) <= self.most else None


async def test_portions_are_put_together() -> None:
    texts = ["x" * size for size in (9000, 6000, 3000, 20_000, 5)]
    client = Client(most=9)
    assert await Ranking(cast(SemanticClient, client)).rank("?", texts) == [9000, 6000, 3000, 20_000, 5]
    assert client.sizes == [15_000, 3000, 20_000, 5] and AT_ONCE_CHARS == 16_000


async def test_without_all_of_them_there_is_no_ranking() -> None:
    client = cast(SemanticClient, Client(most=1))
    assert await Ranking(client).rank("?", ["x" * 16_000, "y"]) is None
    assert await Ranking(None).rank("?", ["x"]) is None
