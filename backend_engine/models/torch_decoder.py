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

    def __init__(self, model: LlamaModel, pages: KVPages) -> None:
        self.block_size = pages.block_size
        self.page_tensors = pages.tensors
        self._model = model
        self._pages = pages

    def forward(self, batch: ForwardBatch, best: npt.NDArray[np.int64] | None = None) -> torch.Tensor:
        """Compute `batch` and return the logits wanted, fp32 [rows, vocab]; for `best` see `Decoder`."""
        hidden = self._model.forward(batch, self._pages.prepare(batch))
        logits = self._model.logits(hidden[batch.logit_rows])
        if best is not None and len(best):
            logits.numpy().argmax(axis=1, out=best)
        return logits[[row for row, place in enumerate(batch.logit_places) if place >= 0]]
