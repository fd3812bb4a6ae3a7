"""Makes the parts of a process from its options: only here it is known which they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from semantic_cache.decision.decider import CalibratedDecider
from semantic_cache.embed.base import Embedder, Encoding
from semantic_cache.embed.batcher import Batcher
from semantic_cache.embed.open import EmbedderSource, LocalModel, UpstreamModel, open_embedder
from semantic_cache.semantic.launcher import SemanticOptions
from semantic_cache.semantic.service.process import BadParts, Parts

_log = structlog.get_logger("semantic_cache.service")


def build(options: SemanticOptions) -> Parts:
    """Return the parts. Raises BadEmbedder, BadParts."""
    return parts_of(open_embedder(_source(options)))


def parts_of(embedder: Embedder) -> Parts:
    """Return an embedder with the decider that ships. Raises BadParts."""
    batcher = Batcher(embedder)

    async def encode(texts: Sequence[str]) -> list[Encoding]:
        if len(texts) == 1:
            return [await batcher.encode(texts[0])]
        return list(await asyncio.gather(*map(batcher.encode, texts)))

    async def encode_later(texts: Sequence[str]) -> list[Encoding]:
        return list(await asyncio.gather(*map(batcher.encode_later, texts)))

    try:
        decider = CalibratedDecider(embedder=embedder.id)
    except (OSError, KeyError, ValueError) as error:
        raise BadParts(f"The decision's weights cannot be read: {error}.") from error
    if not decider.can_read:
        _log.warning(
            "semantic_unverified",
            embedder=embedder.id,
            consequence="nothing is served from the semantic tier: its verifier is trained on minilm-l6",
        )
    return Parts(embedder.id, embedder.dim, encode, encode_later, decider, batcher.close)


def _source(options: SemanticOptions) -> EmbedderSource:
    if options.embedder_url is not None:
        return UpstreamModel(options.embedder_url, options.embedder, options.embedder_key)
    folder = None if options.embedder_path is None else Path(options.embedder_path)
    return LocalModel(options.embedder, folder)
