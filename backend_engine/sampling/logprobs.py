"""Log-probabilities of chosen and alternative tokens, from the logits as the model gave them."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class PositionLogprobs:
    """One position: the token that stands there and the likeliest alternatives, best first."""

    token_id: int
    logprob: float
    rank: int
    """1 is the likeliest token."""
    top: tuple[tuple[int, float], ...]


def position_logprobs(logits: torch.Tensor, chosen: list[int], top: list[int]) -> list[PositionLogprobs]:
    """Describe the tokens `chosen` at each row of `logits`.

    logits: fp32 [rows, vocab], before temperature, penalties and bias; chosen: a token id per row;
    top: how many alternatives to list per row.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    picked = logprobs.gather(1, torch.tensor(chosen).unsqueeze(1))
    ranks = (logprobs > picked).sum(dim=1) + 1
    best_values, best_ids = logprobs.topk(max(top, default=0), dim=-1)
    rows = zip(
        chosen,
        picked[:, 0].tolist(),
        ranks.tolist(),
        best_ids.tolist(),
        best_values.tolist(),
        top,
        strict=True,
    )
    return [
        PositionLogprobs(token, logprob, rank, tuple(zip(ids[:count], values[:count], strict=True)))
        for token, logprob, rank, ids, values, count in rows
    ]
