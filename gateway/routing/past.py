"""What became of the questions of the past that are most like one: how often the small model's answer stood.

The questions stay in the semantic process, where they are searched within the cache scope of the request, and
here is only known what became of each, by the digest of its cache key. A question whose answer was not stored
is nobody's neighbour.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from gateway.exchange import Exchange
from router.before.neighbours import neighbours_mean
from router.online.tried import Tried
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Found, Search

MOST = 20_000
_NEAREST = 16
_PATIENCE_S = 0.02
_WIDTH, _STRENGTH = 0.1, 1.0


class Past:
    """Of one route's smallest tier, in one process."""

    def __init__(self, tier: str, client: Callable[[], SemanticClient | None]) -> None:
        """`client` returns the way to the semantic process, where there is one."""
        self._tier = tier
        self._client = client
        self._agreed: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._sum = 0

    def note(self, tried: Iterable[Tried]) -> None:
        """Take outcomes; the oldest make room."""
        for one in tried:
            if one.tier != self._tier or not one.question:
                continue
            key = one.tenant, one.question
            self._sum += one.agrees - self._agreed.pop(key, False)
            self._agreed[key] = one.agrees
            if len(self._agreed) > MOST:
                self._sum -= self._agreed.popitem(last=False)[1]

    async def agreement_near(self, ex: Exchange) -> float | None:
        """Return the share of similar questions in which the small answer stood, drawn to that of all; None
        if nobody can say."""
        client, cache = self._client(), ex.cache
        if client is None or cache is None or cache.asked is None or cache.scope is None:
            return None
        # Without a vector of the question it would have to be embedded, and that is not worth the wait.
        if not cache.asked.vector or not self._agreed:
            return None
        search = Search(ex.tenant, cache.scope.digest, cache.asked.text, _NEAREST)
        found = await client.ask(search, Found, _PATIENCE_S)
        if found is None:
            return None
        keys = [(near.similarity, (ex.tenant, near.entry.hex())) for near in found.near]
        outcomes = [(similarity, float(self._agreed[key])) for similarity, key in keys if key in self._agreed]
        overall = self._sum / len(self._agreed)
        return neighbours_mean(outcomes, overall, width=_WIDTH, strength=_STRENGTH)
