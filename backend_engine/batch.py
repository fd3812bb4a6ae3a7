"""The one message that flows through a step: which tokens to compute and where their KV lives."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """Tokens of several sequences packed one after another, without padding.

    A sequence contributes one token when it decodes and many when it prefills; nothing marks which.
    Sequence `i` owns rows `query_starts[i]:query_starts[i + 1]`, the last tokens of a context of
    `context_lengths[i]` tokens whose KV is found through `block_tables[i]`.

    token_ids:        int64 [tokens]
    positions:        int64 [tokens], position in the sequence
    slots:            int64 [tokens], block * block_size + offset where this token's KV is written
    query_starts:     len sequences + 1
    context_lengths:  len sequences, including this step's tokens
    block_tables:     int64 [sequences, most blocks], rows padded with 0
    logit_rows:       int64 [rows], the rows whose logits are wanted
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    query_starts: tuple[int, ...]
    context_lengths: tuple[int, ...]
    block_tables: torch.Tensor
    logit_rows: torch.Tensor
