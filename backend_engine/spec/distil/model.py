"""The draft head (see `spec/draft_head.py`) as a torch module that can be trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-5
DROPPED = 0.1
"""Share of the features that one row of training goes without: there are few answers to learn from."""


class TrainableHead(nn.Module):
    """Features of the last token, then one token after another, to logits of the draft vocabulary."""

    def __init__(self, hidden: int, inner: int, num_taps: int) -> None:
        super().__init__()
        self.feature_norm = nn.Parameter(torch.ones(num_taps, hidden))
        self.features = nn.Linear(num_taps * hidden, hidden, bias=False)
        self.token = nn.Linear(hidden, hidden, bias=False)
        self.mlp_norm = nn.Parameter(torch.ones(hidden))
        self.gate_up = nn.Linear(hidden, 2 * inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)
        self.norm = nn.Parameter(torch.ones(hidden))
        nn.init.zeros_(self.down.weight)
        with torch.no_grad():
            self.features.weight.mul_(0.3)

    def begin(self, features: torch.Tensor) -> torch.Tensor:
        """Return the state [rows, hidden] of `features` [rows, taps, hidden]."""
        normed = (rms_norm(features) * self.feature_norm).flatten(1)
        state: torch.Tensor = self.features(F.dropout(normed, DROPPED, self.training))
        return state

    def step(self, state: torch.Tensor, embedded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in the tokens of these embeddings [rows, hidden]; return the state and what the head reads."""
        state = state + self.token(rms_norm(embedded))
        gate, up = self.gate_up(rms_norm(state) * self.mlp_norm).chunk(2, dim=-1)
        state = state + self.down(F.silu(gate) * up)
        return state, rms_norm(state) * self.norm


def rms_norm(x: torch.Tensor) -> torch.Tensor:
    """Return `x` over the root mean square of its last dimension."""
    return x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + EPS).to(x.dtype)
