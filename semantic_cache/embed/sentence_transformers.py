"""Any model of the sentence-transformers library, in torch; an optional dependency.

Texts go through the network one by one: batched products in torch may differ in their last bits, and then a
vector would depend on its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from semantic_cache.embed.base import Encoding
from semantic_cache.embed.errors import BadEmbedder

_DIGEST_CHARS = 12
_READ = 1 << 20


class SentenceTransformersEmbedder:
    """Encodes with a model of that library on one thread of the processor."""

    def __init__(self, name: str, source: str) -> None:
        """Load `source`, a folder or a name of the Hugging Face hub. Raises BadEmbedder."""
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise BadEmbedder(
                f"The embedder '{name}' needs the sentence-transformers library: pip install "
                f"'forebay[sentence-transformers]' (or sentence-transformers and torch). {error}"
            ) from error
        try:
            self._model = SentenceTransformer(source, device="cpu")
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise BadEmbedder(f"The embedder '{name}' could not be loaded from {source}: {error}") from error
        self._torch = torch
        self._model.eval()
        tokenizer = self._model.tokenizer
        self._has_spans = bool(getattr(tokenizer, "is_fast", False))
        digest = hashlib.sha256()
        for key, value in sorted(self._model.state_dict().items()):
            digest.update(key.encode() + str(value.dtype).encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self.id = f"{name}:{digest.hexdigest()[:_DIGEST_CHARS]}:torch"
        self.dim = len(self.encode(["dimensions"])[0].vector)
