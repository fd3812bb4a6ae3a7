"""Any model of the sentence-transformers library, in torch; an optional dependency.

Texts go through the network one by one: batched products in torch may differ in their last bits, and then a
vector would depend on its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from semantic_cache.embed.base import Encoding
from semantic_cache.embed.errors import BadEmbedder

_DIGEST_CHARS = 12


class SentenceTransformersEmbedder:
    """Encodes with a model of that library, on the processor."""

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
        self._model.eval()
        self._no_gradients = torch.inference_mode
        self._has_spans = bool(getattr(self._model.tokenizer, "is_fast", False))
        digest = hashlib.sha256()
        for key, value in sorted(self._model.state_dict().items()):
            digest.update(key.encode() + str(value.dtype).encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self.id = f"{name}:{digest.hexdigest()[:_DIGEST_CHARS]}:torch"
        self.dim = len(self.encode(["dimensions"])[0].vector)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Return one encoding per text; without token states if the tokenizer cannot say where they lie."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        with self._no_gradients():
            out = self._model(self._model.preprocess([text]))
        vector = out["sentence_embedding"][0].float().numpy()
        vector = np.divide(vector, max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)
        if self._has_spans:
            window = {"truncation": True, "max_length": self._model.max_seq_length}
            spans = self._model.tokenizer(text, return_offsets_mapping=True, **window)["offset_mapping"]
            states = out["token_embeddings"][0].float().numpy()
            if len(spans) == len(states):
                return Encoding(vector, states, np.array(spans, np.int32))
        return Encoding(vector, np.empty((0, len(vector)), np.float32), np.empty((0, 2), np.int32))
