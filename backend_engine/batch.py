"""The one message that flows through a step: which tokens to compute and where their KV lives."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class Piece:
    """What one sequence contributes: `token_ids`, the first of them at position `first` of its context."""

    token_ids: Sequence[int]
    first: int
    block_table: Sequence[int]
    logit_rows: range
    """Which of the tokens need logits, counted from the first of them."""


def pack(pieces: Sequence[Piece], block_size: int) -> ForwardBatch:
    """Lay the tokens of `pieces` one after another."""
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    starts = [0]
    contexts: list[int] = []
    logit_rows: list[int] = []
    for piece in pieces:
        end = piece.first + len(piece.token_ids)
        logit_rows += [len(token_ids) + row for row in piece.logit_rows]
        token_ids += piece.token_ids
        positions += range(piece.first, end)
        table = piece.block_table
        slots += [table[at // block_size] * block_size + at % block_size for at in range(piece.first, end)]
        starts.append(len(token_ids))
        contexts.append(end)
    widest = max(len(piece.block_table) for piece in pieces)
    tables = [[*piece.block_table, *[0] * (widest - len(piece.block_table))] for piece in pieces]
    return ForwardBatch(
        token_ids=torch.tensor(token_ids),
        positions=torch.tensor(positions),
        slots=torch.tensor(slots),
        query_starts=tuple(starts),
        context_lengths=tuple(contexts),
        block_tables=torch.tensor(tables),
        logit_rows=torch.tensor(logit_rows, dtype=torch.int64),
    )
