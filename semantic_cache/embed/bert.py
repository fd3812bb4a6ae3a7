"""A BERT text encoder such as MiniLM-L6 on the engine's eight-bit kernels: the default embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import structlog
from numpy.typing import NDArray

from backend_engine.native.build import BuildError
from backend_engine.native.encoder import EncoderWeights, NativeEncoder
from semantic_cache.embed.base import Encoding
from semantic_cache.embed.checkpoint import load_checkpoint
from semantic_cache.embed.numpy_encoder import NumpyEncoder

_log = structlog.get_logger("semantic")

NUMERICS = "int8"
"""To be changed with any change of the arithmetic; a test pins the bits that it stands for."""

_MOST_CHARS = 32_768

Encoder: TypeAlias = Callable[
    [NDArray[np.int32], NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.float32]]
]


class BertEmbedder:
    """Encodes texts with the weights of a folder, in the native kernels or, without them, in numpy."""

    def __init__(
        self, name: str, folder: Path, encoder: Callable[[EncoderWeights], Encoder] | None = None
    ) -> None:
        """Read the weights; `encoder` makes the runtime. Raises BadEmbedder."""
        checkpoint = load_checkpoint(folder)
        self.id = f"{name}:{checkpoint.digest}:{NUMERICS}"
        self.dim = checkpoint.weights.hidden
        self._tokenizer = checkpoint.tokenizer
        self._encoder = (encoder or fastest_encoder)(checkpoint.weights)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Return one encoding per text; a long text is cut at the model's window, as `spans` shows."""
        if not texts:
            return []
        tokens = [self._tokenizer.encode(_readable(text)) for text in texts]
        starts = np.cumsum([0, *(len(one) for one in tokens)], dtype=np.int64)
        ids = np.fromiter((i for one in tokens for i in one.ids), np.int32, int(starts[-1]))
        states, vectors = self._encoder(ids, starts)
        # Copies: whoever keeps one text's encoding should not keep its whole batch.
        return [
            Encoding(vector.copy(), states[begin:end].copy(), np.array(one.offsets, np.int32))
            for vector, begin, end, one in zip(vectors, starts[:-1], starts[1:], tokens, strict=True)
        ]


def fastest_encoder(weights: EncoderWeights) -> Encoder:
    """Return the native encoder, or numpy's where there is no way to compile it."""
    try:
        return NativeEncoder(weights)
    except BuildError as error:
        _log.warning("native_kernels_missing", reason=str(error), consequence="numpy embeds, far slower")
        return NumpyEncoder(weights)


def _readable(text: str) -> str:
    # Far more than the window holds. Half a surrogate pair is not text, and the tokenizer would refuse it;
    # what stands for it is one character too, so spans stay where they are.
    return text[:_MOST_CHARS].encode("utf-8", "replace").decode("utf-8")
