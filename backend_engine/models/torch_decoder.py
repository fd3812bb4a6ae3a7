"""The decoder in plain torch: the reference, and what runs where there are no native kernels."""

from __future__ import annotations

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

    def forward(self, batch: ForwardBatch, features: torch.Tensor | None = None) -> torch.Tensor:
        """Compute `batch` and return its logits, fp32 [logit rows, vocab]; see `Decoder` for `features`."""

        def keep(num_layers: int, hidden: torch.Tensor) -> None:
            if features is not None and num_layers in self._taps:
                features[:, self._taps.index(num_layers)] = hidden[batch.logit_rows]

        hidden = self._model.forward(batch, self._pages.prepare(batch), keep)
        return self._model.logits(hidden[batch.logit_rows])
