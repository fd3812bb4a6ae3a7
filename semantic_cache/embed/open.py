"""Makes the embedder that the configuration names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from semantic_cache.embed.base import Embedder
from semantic_cache.embed.bert import BertEmbedder
from semantic_cache.embed.checkpoint import UnsupportedNetwork
from semantic_cache.embed.sentence_transformers import SentenceTransformersEmbedder
from semantic_cache.embed.upstream import UpstreamEmbedder


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model of the sentence-transformers layout."""

    name: str
    """What its vectors are stored under, and the hub's name of it if `folder` is None."""
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model behind `/v1/embeddings`."""

    base_url: str
    model: str
    api_key: str | None = None


EmbedderSource: TypeAlias = LocalModel | UpstreamModel


def open_embedder(source: EmbedderSource) -> Embedder:
    """Return the embedder of `source`: our kernels where they can compute it, else its library.

    Raises BadEmbedder.
    """
    if isinstance(source, UpstreamModel):
        return UpstreamEmbedder(source.base_url, source.model, source.api_key)
    if source.folder is None:
        return SentenceTransformersEmbedder(source.name, source.name)
    try:
        return BertEmbedder(source.name, source.folder)
    except UnsupportedNetwork:
        return SentenceTransformersEmbedder(source.name, str(source.folder))
