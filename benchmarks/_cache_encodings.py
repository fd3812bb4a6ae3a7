"""Encodings of a benchmark's texts: by the embedder that the gateway serves with, or by the reference in
torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks._cache_progress import say
from semantic_cache.decision.base import Encoding
from semantic_cache.decision.train.reference_embedder import ReferenceEmbedder
from semantic_cache.embed.bert import BertEmbedder

_EVERY = 2000


class Encode(Protocol):
    """Makes encodings."""

    def __call__(self, texts: Sequence[str]) -> list[Encoding]:
        """Return one encoding per text."""


class Encodings:
    """Encodings by text; every text is encoded once."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: dict[str, Encoding] = {}

    def __getitem__(self, text: str) -> Encoding:
        return self._known[text]

    def add(self, texts: Iterable[str]) -> None:
        """Encode what is not known yet."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        for begin in range(0, len(new), _EVERY):
            if begin:
                say(f"{begin} of {len(new)} questions encoded")
            part = new[begin : begin + _EVERY]
            self._known.update(zip(part, self._encode(part), strict=True))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors [texts, dim]."""
        return np.stack([self._known[text].vector for text in texts])


def served(folder: Path) -> Encode:
    """Return the embedder of the gateway's semantic process. Raises BadEmbedder."""
    embedder = BertEmbedder("minilm-l6", folder)

    def encode(texts: Sequence[str]) -> list[Encoding]:
        # One by one, as they come over HTTP; in company each would have the same bits.
        return [embedder.encode([text])[0] for text in texts]

    return encode


def reference(folder: Path, threads: int) -> Encode:
    """Return MiniLM-L6 in torch and fp32: what the verifier was trained on."""

    def encode(texts: Sequence[str]) -> list[Encoding]:
        encoded = ReferenceEmbedder(folder, threads=threads).encode(texts)
        return [encoded[row] for row in range(len(encoded))]  # type: ignore[misc]

    return encode
