"""A trained head as the file that the engine reads, and back."""

from __future__ import annotations

from pathlib import Path

import torch

from backend_engine.loading.checkpoint import Checkpoint
from backend_engine.quant.blocks import round_to_eight_bits
from backend_engine.spec.distil.model import EPS, TrainableHead
from backend_engine.spec.draft_weights import LINEARS, VECTORS, DraftWeights, fingerprint


def export(
    head: TrainableHead, vocabulary: torch.Tensor, taps: tuple[int, ...], checkpoint: Checkpoint, path: Path
) -> None:
    """Round the linears of `head` to eight bits and save it for the model of `checkpoint`."""
    DraftWeights(
        taps=taps,
        eps=EPS,
        pieces=fingerprint(vocabulary, checkpoint.tokenizer.token_bytes),
        num_layers=checkpoint.config.num_layers,
        vocabulary=vocabulary,
        feature_norm=head.feature_norm.detach(),
        mlp_norm=head.mlp_norm.detach(),
        norm=head.norm.detach(),
        linears={name: round_to_eight_bits(getattr(head, name).weight.detach()) for name in LINEARS},
    ).save(path)


def restore(weights: DraftWeights) -> TrainableHead:
    """Return a head to go on training, or to compare with; its linears are the rounded ones."""
    head = TrainableHead(weights.hidden, weights.inner, len(weights.taps))
    with torch.no_grad():
        for name in VECTORS:
            getattr(head, name).copy_(getattr(weights, name))
        for name, blocks in weights.linears.items():
            getattr(head, name).weight.copy_(blocks.dequantize())
    return head
