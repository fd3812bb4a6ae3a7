"""Takes from the logits every token that a sequence's grammar does not allow next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from backend_engine.request import Request
from backend_engine.sampling.penalties import holds_off_end


def forbid(logits: torch.Tensor, requests: Sequence[Request]) -> None:
    """Set what the guides of `requests` forbid to -inf in their rows of `logits` [rows, vocab], in place.

    Where `min_tokens` or `ignore_eos` hold off the end, end tokens go too, unless the grammar leaves nothing
    else. Rows without a guide stay as they are.
    """
    guides = [request.guide for request in requests]
    packed = np.full((len(guides), -(-logits.shape[1] // 32)), -1, dtype=np.int32)
    for row, guide in enumerate(guides):
        if guide is not None:
            guide.fill_mask(packed[row])
    bits = np.unpackbits(np.invert(packed, out=packed).view(np.uint8), axis=1, bitorder="little")
    forbidden = bits.view(np.bool_)[:, : logits.shape[1]]
    for row, (guide, request) in enumerate(zip(guides, requests, strict=True)):
        if guide is not None and (request.params.ignore_eos or holds_off_end(request)):
            ends = list(guide.vocabulary.end_ids)
            before = forbidden[row, ends]
            forbidden[row, ends] = True
            if forbidden[row].all():
                forbidden[row, ends] = before
    logits.masked_fill_(torch.from_numpy(forbidden), -torch.inf)
