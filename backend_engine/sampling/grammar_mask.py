"""Takes from the logits every token that a sequence's grammar does not allow next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from backend_engine.request import Request
from backend_engine.sampling.penalties import holds_off_end
from backend_engine.structured.guide import Guide


def forbid(logits: torch.Tensor, rows: Sequence[int], requests: Sequence[Request]) -> None:
    """Set what the guides of `requests` forbid to -inf in `rows` of `logits` [rows, vocab], in place.

    `requests[i]` has a guide and owns row `rows[i]`. Where `min_tokens` or `ignore_eos` hold off the end,
    end tokens go too, unless the grammar leaves nothing else.
    """
    guides = [request.guide for request in requests if request.guide is not None]
    allowed = _unpack(guides)
    for row, (guide, request) in enumerate(zip(guides, requests, strict=True)):
        if request.params.ignore_eos or holds_off_end(request):
            ends = list(guide.vocabulary.end_ids)
            before = allowed[row, ends]
            allowed[row, ends] = False
            if not allowed[row].any():
                allowed[row, ends] = before
    at = torch.tensor(rows)
    forbidden = torch.from_numpy(~allowed[:, : logits.shape[1]])
    logits[at] = logits[at].masked_fill_(forbidden, -torch.inf)


def _unpack(guides: Sequence[Guide]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return which tokens may come next: bool [guides, 32 * words]."""
    packed = np.zeros((len(guides), guides[0].vocabulary.num_mask_words), dtype=np.int32)
    for guide, row in zip(guides, packed, strict=True):
        guide.fill_mask(row)
    return np.unpackbits(packed.view(np.uint8), axis=1, bitorder="little").view(np.bool_)
