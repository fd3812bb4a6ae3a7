"""The semantic tier in one worker: its hop, its end of the socket, and what learns in the background."""

from __future__ import annotations

from typing import Literal

from gateway.config.schema import SemanticConfig
from gateway.confirmer import Confirmer
from gateway.explorer import Explorer
from gateway.hops.semantic_cache import SemanticCache
from gateway.hops.store_answer import Semantic
from gateway.judge import Judge
from gateway.subrequests import Subrequests
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.question import Rules
from semantic_cache.store.base import Store
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Tracer


class SemanticTier:
    """The parts of one configuration."""

    def __init__(
        self,
        config: SemanticConfig,
        store: Store,
        socket: str,
        tracer: Tracer,
        metrics: GatewayMetrics,
        mode: Literal["serve", "observe"],
        subrequests: Subrequests,
    ) -> None:
        rules = rules_of(config)
        self.client = SemanticClient(socket, metrics.semantic_call)
        judge = Judge(config.judge, subrequests) if config.judge is not None else None
        self._explorer = Explorer(self.client, judge, metrics)
        self.confirmer = Confirmer(store, self.client, judge, metrics)
        self.storing = Semantic(self.client, rules)
        self.hop = SemanticCache(
            store,
            self.client,
            config,
            rules,
            self._explorer,
            self.confirmer,
            tracer,
            metrics,
            observe=mode == "observe",
        )

    def start(self) -> None:
        """Begin to look for the semantic process."""
        self.client.start()

    async def close(self) -> None:
        """Break off comparisons, and hang up."""
        await self._explorer.close()
        await self.client.close()


def rules_of(config: SemanticConfig) -> Rules:
    """Return which questions and answers take part."""
    admit = config.admit
    return Rules(admit.refusals, admit.time_bound, admit.tools, config.max_chars)
