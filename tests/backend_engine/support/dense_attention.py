"""The plainest attention there is, and whole-prompt batches for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from backend_engine.batch import ForwardBatch
from backend_engine.models.llama import LlamaModel


class DenseAttention:
    """Causal attention for batches whose sequences are all there from their first token on."""

    def __init__(self) -> None:
        self._written: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def write_kv(self, layer: int, k: torch.Tensor, v: torch.Tensor, batch: ForwardBatch) -> None:
        self._written[layer] = k, v

    def forward(self, layer: int, q: torch.Tensor, batch: ForwardBatch) -> torch.Tensor:
        k, v = self._written[layer]
        attended = [
            F.scaled_dot_product_attention(
                q[start:end].transpose(0, 1),
                k[start:end].transpose(0, 1),
                v[start:end].transpose(0, 1),
                is_causal=True,
                enable_gqa=True,
            ).transpose(0, 1)
            for start, end in zip(batch.query_starts, batch.query_starts[1:], strict=False)
        ]
        return torch.cat(attended)


def prompts_batch(prompts: Sequence[Sequence[int]]) -> ForwardBatch:
    """Pack whole prompts into one batch that wants every row's logits."""
    starts = [0]
    for prompt in prompts:
        starts.append(starts[-1] + len(prompt))
    positions = torch.cat([torch.arange(len(prompt)) for prompt in prompts])
    return ForwardBatch(
        token_ids=torch.tensor([token for prompt in prompts for token in prompt]),
        positions=positions,
        slots=torch.arange(starts[-1]),
        query_starts=tuple(starts),
        context_lengths=tuple(len(prompt) for prompt in prompts),
        block_tables=torch.zeros(len(prompts), 1, dtype=torch.int64),
        logit_rows=torch.arange(starts[-1]),
    )


@torch.inference_mode()
def prompt_logits(model: LlamaModel, *prompts: Sequence[int]) -> torch.Tensor:
    """Return the logits of every token of `prompts`, computed as one batch."""
    return model.logits(model.forward(prompts_batch(prompts), DenseAttention()))
