"""Vectors with the structure of sentence embeddings, in any number: topics, subtopics, a decaying spectrum.

Within a subtopic cosines are about 0.75, within a topic about 0.5, else about 0.1, as MiniLM's are; the
directions' variances fall as a power law, so that some 100 of 384 dimensions carry nearly all of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_DECAY = 0.6
_SHARES = (0.1, 0.4, 0.25, 0.25)
"""Of a vector's squared length: common to all, topic, subtopic, own."""
_BLOCK = 50_000


class EmbeddingLike:
    """Draws vectors of one made-up corpus."""

    def __init__(self, dim: int, seed: int, topics: int = 400, subtopics: int = 20) -> None:
        self._random = np.random.default_rng(seed)
        self._spread = (np.arange(1, dim + 1) ** -_DECAY).astype(np.float32)
        self._turn = np.linalg.qr(self._random.standard_normal((dim, dim)))[0].astype(np.float32)
        self.dim = dim
        self._common = self._unit(1)
        self._topics = self._unit(topics)
        self._subtopics = self._unit(topics * subtopics)
        # Subtopics are asked about unequally, as topics are in any log of questions.
        weights = 1 / np.arange(1, len(self._subtopics) + 1) ** 0.7
        self._weights = self._random.permutation(weights / weights.sum())

    def vectors(self, count: int) -> Floats:
        """Return unit vectors fp32 [count, dim]."""
        out = np.empty((count, self.dim), np.float32)
        for begin in range(0, count, _BLOCK):
            part = out[begin : begin + _BLOCK]
            sub = self._random.choice(len(self._subtopics), len(part), p=self._weights)
            common, topic, subtopic, own = (np.float32(share**0.5) for share in _SHARES)
            part[:] = own * self._unit(len(part)) + subtopic * self._subtopics[sub]
            part += topic * self._topics[sub % len(self._topics)] + common * self._common
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        return out

    def paraphrases(self, vectors: Floats) -> Floats:
        """Return for each vector another one at a cosine of 0.75 to 0.98."""
        cosine = self._random.uniform(0.75, 0.98, (len(vectors), 1)).astype(np.float32)
        other = self._unit(len(vectors))
        other -= np.sum(other * vectors, axis=1, keepdims=True) * vectors
        other /= np.linalg.norm(other, axis=1, keepdims=True)
        sine = np.sqrt(1 - cosine**2, dtype=np.float32)
        return np.asarray(cosine * vectors + sine * other, np.float32)

    def _unit(self, count: int) -> Floats:
        x = self._random.standard_normal((count, self.dim), np.float32) * self._spread @ self._turn
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return np.asarray(x)
