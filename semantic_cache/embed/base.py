"""The seam of the embedders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoding:
    """What an embedder makes of one text.

    An embedder that only gives vectors leaves `tokens` and `spans` with no rows; a verifier then abstains.
    """

    vector: NDArray[np.float32]
    """[dim], of unit length."""
    tokens: NDArray[np.float32]
    """[n, dim]: the last hidden states, those of special tokens included."""
    spans: NDArray[np.int32]
    """[n, 2]: where each token lies in the text, in characters; (0, 0) for special tokens."""


class Embedder(Protocol):
    """Maps texts to vectors. A text's encoding is the same bits alone and in any company."""

    id: str
    """Names weights and numerics, such as "minilm-l6:53aa51172d14:int8". What is stored under one id is
    never compared with what another id made."""
    dim: int

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Return one encoding per text, in order. Blocks; one thread at a time. Raises EmbedderError."""
        ...
