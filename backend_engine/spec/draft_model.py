"""A small model of the same vocabulary runs ahead of the large one, greedily, over KV pages of its own.

Its likeliest token is the whole draft distribution (see `base.Drafter`): a greedy target accepts it most
often, and a seeded answer stays what it is without speculation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from backend_engine.batch import Piece, pack
from backend_engine.kv.block_pool import BlockPool
from backend_engine.request import Request
from backend_engine.runner import Decoder
from backend_engine.spec.base import Draft, TextDrafter, Want

_LEAST_CONFIDENCE = 0.4
"""A draft ends where the model itself gives all of it less: each further token costs a pass."""
_CHUNK = 256
"""Tokens of a context that are caught up on before a step; a long prompt is not drafted for until it is."""
_EVIDENCE = 16


@dataclass(slots=True)
class _Sequence:
    """What the pages hold of one request."""

    block_table: list[int] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)
    """Tokens whose KV is there, drafted ones included until they turn out wrong."""


class ModelDrafter(TextDrafter):
    """Drafts with `decoder`, whose pages `pool` hands out; a request that gets no block has no draft."""

    def __init__(self, decoder: Decoder, pool: BlockPool) -> None:
        self._decoder = decoder
        self._pool = pool
        self._sequences: dict[Request, _Sequence] = {}

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        drafts: dict[Request, list[int]] = {want.request: [] for want in wants}
        confidence = dict.fromkeys(drafts, 1.0)
        evidence = dict.fromkeys(drafts, 0)
        going = [want for want in wants if self._prepare(want)]
        while going:
            pieces = [self._next_piece(want.request, drafts[want.request]) for want in going]
            logits = self._decoder.forward(pack(pieces, self._pool.block_size)).numpy()
            ahead, row = [], 0
            for want, piece in zip(going, pieces, strict=True):
                request = want.request
                self._sequences[request].computed += piece.token_ids
                if not piece.logit_rows:
                    continue
                token = int(logits[row].argmax())
                # The share of the best token, its own term being exp(0).
                confidence[request] /= float(np.exp(logits[row] - logits[row, token]).sum())
                row += 1
                if confidence[request] < _LEAST_CONFIDENCE:
                    continue
                evidence[request] = evidence[request] or round(_EVIDENCE * confidence[request])
                drafts[request].append(token)
                if len(drafts[request]) < want.limit:
                    ahead.append(want)
            going = ahead
        return [
            [Draft(tuple(tokens), evidence[request], source="model")] if tokens else []
            for request, tokens in drafts.items()
        ]

    def finished(self, request: Request) -> None:
        sequence = self._sequences.pop(request, None)
        if sequence is not None:
            self._pool.release(sequence.block_table)

    def _prepare(self, want: Want) -> bool:
        """Forget drafted tokens that were wrong, and make room; False if there is none."""
        request = want.request
        sequence = self._sequences.setdefault(request, _Sequence())
        # The last token is computed again if need be: its logits begin the draft.
        agree = min(len(sequence.computed), request.num_tokens - 1)
        while sequence.computed[:agree] != request.token_ids[:agree]:
            agree -= 1
        del sequence.computed[agree:]
        needed = self._pool.blocks_for(request.num_tokens + want.limit) - len(sequence.block_table)
        if needed > self._pool.num_free:
            return False
        if needed > 0:
            sequence.block_table += self._pool.allocate(needed)
        return True

    def _next_piece(self, request: Request, draft: list[int]) -> Piece:
        """Return what is to be computed next: the context that is missing, or the last drafted token."""
        sequence = self._sequences[request]
        first = len(sequence.computed)
        missing = (request.token_ids[first:] if first < request.num_tokens else draft[-1:])[:_CHUNK]
        last = first + len(missing) >= request.num_tokens
        return Piece(
            missing, first, sequence.block_table, range(len(missing) - 1, len(missing)) if last else range(0)
        )
