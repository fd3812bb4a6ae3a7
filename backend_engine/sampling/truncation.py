"""top_k, top_p and min_p, in the order in which transformers applies them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backend_engine.sampling.params import SamplingParams

# Enough of the distribution's head that top_p rarely needs the whole vocabulary sorted.
_HEAD = 1024


def truncate(logits: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor:
    """Return `logits` [rows, vocab] with the tokens that each row's settings drop at -inf.

    Logits are already divided by the temperature. Tokens equal to the last one kept are kept too.
    """
    vocab = logits.shape[1]
    if all(p.top_k == 0 and p.top_p == 1 and p.min_p == 0 for p in params):
        return logits
    top_k = torch.tensor([min(p.top_k, vocab) or vocab for p in params]).unsqueeze(1)
    top_p = torch.tensor([p.top_p for p in params], dtype=torch.float64).unsqueeze(1)
    min_p = torch.tensor([p.min_p for p in params]).unsqueeze(1)

    limits = [p.top_k for p in params if p.top_k]
    head = min(vocab, max([_HEAD, *limits]))
    threshold, complete = _nucleus_threshold(logits, top_k, top_p, head)
    if not complete:
        threshold, _ = _nucleus_threshold(logits, top_k, top_p, vocab)
    # min_p is a ratio of probabilities, so it does not depend on what has been dropped before.
    threshold = torch.maximum(threshold, logits.amax(dim=1, keepdim=True) + torch.log(min_p))
    return logits.masked_fill(logits < threshold, -torch.inf)


def _nucleus_threshold(
    logits: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, head: int
) -> tuple[torch.Tensor, bool]:
    """Return the lowest logit to keep per row, and whether `head` sorted tokens sufficed to know it."""
    vocab = logits.shape[1]
    values = logits.topk(head, dim=1).values
    inside_k = torch.arange(head) < top_k
    kept = values.double().masked_fill(~inside_k, -torch.inf)
    # The nucleus is taken from what top_k left, or from the whole row where there is no top_k.
    total = torch.where(
        top_k < vocab, kept.logsumexp(1, keepdim=True), logits.double().logsumexp(1, keepdim=True)
    )
    probs = (kept - total).exp()
    before = probs.cumsum(dim=1) - probs
    inside = inside_k & ((before < top_p) | (top_p == 1))
    # The most likely token always stays, whatever rounding says.
    inside[:, 0] = True
    count = inside.sum(dim=1, keepdim=True)
    unlimited = (top_k == vocab) & (top_p == 1)
    complete = head == vocab or bool(((count < head) | unlimited | (top_k <= head)).all())
    threshold = values.gather(1, count - 1)
    return threshold.masked_fill(unlimited, -torch.inf), complete
