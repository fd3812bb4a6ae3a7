"""The decoder in plain torch: the reference, and what runs where there are no native kernels."""

from __future__ import annotations

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

    def forward(self, batch: ForwardBatch) -> torch.Tensor:
        """Compute `batch` and return its logits, fp32 [logit rows, vocab]."""
        hidden = self._model.forward(batch, self._pages.prepare(batch))
        return self._model.logits(hidden[batch.logit_rows])
