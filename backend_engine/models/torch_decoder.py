"""The decoder in plain torch: the reference, and what runs where there are no native kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from backend_engine.attention.base import KVPages
from backend_engine.batch import ForwardBatch
from backend_engine.models.llama import LlamaModel


class TorchDecoder:
    """A model over its KV pages."""

    def __init__(self, model: LlamaModel, pages: KVPages, taps: tuple[int, ...] = ()) -> None:
        """For `taps` see `Decoder`."""
        self.block_size = pages.block_size
        self.page_tensors = pages.tensors
        self._model = model
        self._pages = pages
        self._taps = taps

    def forward(
        self,
        batch: ForwardBatch,
        best: npt.NDArray[np.int64] | None = None,
        features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute `batch` and return the logits wanted, fp32 [rows, vocab]; for the others see `Decoder`."""

        def keep(num_layers: int, hidden: torch.Tensor) -> None:
            if features is not None and num_layers in self._taps:
                features[:, self._taps.index(num_layers)] = hidden[batch.logit_rows]

        hidden = self._model.forward(batch, self._pages.prepare(batch), keep)
        logits = self._model.logits(hidden[batch.logit_rows])
        if best is not None and len(best):
            logits.numpy().argmax(axis=1, out=best)
        return logits[[row for row, place in enumerate(batch.logit_places) if place >= 0]]
