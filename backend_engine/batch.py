"""The one message that flows through a step: which tokens to compute and where their KV lives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
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
    logit_rows:       int64 [rows], the tokens whose next token is asked for
    best_only:        which of these rows want no more than their likeliest token
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    query_starts: tuple[int, ...]
    context_lengths: tuple[int, ...]
    block_tables: torch.Tensor
    logit_rows: torch.Tensor
    best_only: frozenset[int] = field(default_factory=frozenset)

    @property
    def logit_places(self) -> list[int]:
        """Where each row's logits are among those that are wanted; -1 for a row that wants none."""
        wanted = itertools.count()
        return [-1 if row in self.best_only else next(wanted) for row in range(len(self.logit_rows))]


@dataclass(frozen=True, slots=True)
class Piece:
    """What one sequence contributes: `token_ids`, the first of them at position `first` of its context."""

    token_ids: Sequence[int]
    first: int
    block_table: Sequence[int]
    logit_rows: range
    """Which of the tokens need logits, counted from the first of them."""
    best_only: bool = False
    """Their logits are wanted for the likeliest token alone."""


def pack(pieces: Sequence[Piece], block_size: int) -> ForwardBatch:
    """Lay the tokens of `pieces` one after another."""
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    starts = [0]
    contexts: list[int] = []
    logit_rows: list[int] = []
    best_only: list[int] = []
    for piece in pieces:
        end = piece.first + len(piece.token_ids)
        if piece.best_only:
            best_only += range(len(logit_rows), len(logit_rows) + len(piece.logit_rows))
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
        token_ids=_tensor(token_ids),
        positions=_tensor(positions),
        slots=_tensor(slots),
        query_starts=tuple(starts),
        context_lengths=tuple(contexts),
        block_tables=_tensor(tables),
        logit_rows=_tensor(logit_rows),
        best_only=frozenset(best_only),
    )


def _tensor(values: Sequence[int] | Sequence[Sequence[int]]) -> torch.Tensor:
    # Made by numpy: torch would run operations of its own.
    return torch.from_numpy(np.array(values, dtype=np.int64))
