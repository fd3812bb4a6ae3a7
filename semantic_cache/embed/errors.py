"""What the embedders raise.

CacheError
└── EmbedderError
    ├── BadEmbedder         the configured embedder cannot be had: weights or library missing; says what to do
    └── EmbeddingFailed     this batch could not be embedded; the requests go on as misses
"""

from __future__ import annotations

from semantic_cache.errors import CacheError


class EmbedderError(CacheError):
    """Root of the embedders' exceptions."""


class BadEmbedder(EmbedderError):
    """The configured embedder cannot be had; the message says what is missing and what to do."""


class EmbeddingFailed(EmbedderError):
    """A batch of texts could not be embedded."""
