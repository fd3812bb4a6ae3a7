"""The verifier in PyTorch, with the parameters and the arithmetic of `semantic_cache.decision.verifier`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semantic_cache.decision.tokens import FLAGS
from semantic_cache.decision.verifier import COVERAGE, SHARPNESS, WINDOWS

FIND, LIKE, HIDDEN, WIDE = 64, 64, 48, 48
FAR = -1e4


class Network(nn.Module):
    """Batches of padded pairs; the masks are 1 where there is a token."""

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int = 384) -> None:
        super().__init__()
        joined = 2 * HIDDEN + COVERAGE
        self.find = nn.Parameter(torch.randn(dim, FIND) / dim**0.5)
        self.like = nn.Parameter(torch.randn(dim, LIKE) / dim**0.5 * 4)
        self.compare = nn.Parameter(torch.randn(2 * LIKE + FLAGS, HIDDEN) * 0.1)
        self.compare_bias = nn.Parameter(torch.zeros(HIDDEN))
        self.wide = nn.Parameter(torch.randn(joined, WIDE) / joined**0.5)
        self.wide_bias = nn.Parameter(torch.zeros(WIDE))
        self.out = nn.Parameter(torch.randn(WIDE, 1) / WIDE**0.5)
        self.out_bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(joined))
        self.register_buffer("scale", torch.ones(joined))
        self.dropout = nn.Dropout(0.1)

    def joined(
        self, a: Tensor, b: Tensor, flags: tuple[Tensor, Tensor], masks: tuple[Tensor, Tensor], cosine: Tensor
    ) -> Tensor:
        """Return what the last layers read: [batch, 2 * HIDDEN + COVERAGE].

        `a`: [batch, n, dim] unit states, `b`: [batch, m, dim], `flags`: [batch, n or m, FLAGS].
        """
        mask_a, mask_b = masks
        find_a = nn.functional.normalize(a @ self.find, dim=-1, eps=1e-6)
        find_b = nn.functional.normalize(b @ self.find, dim=-1, eps=1e-6)
        like_a, like_b = a @ self.like, b @ self.like
        off_a, off_b = (1 - mask_a) * FAR, (1 - mask_b) * FAR
        near = find_a @ find_b.transpose(1, 2)
        plain = a @ b.transpose(1, 2)
        sharp = float(SHARPNESS)
        to_b = torch.softmax(near * sharp + off_b[:, None, :], -1) @ like_b
        to_a = torch.softmax(near.transpose(1, 2) * sharp + off_a[:, None, :], -1) @ like_a
        hidden_a = self._compare(like_a, to_b, flags[0]) * mask_a[..., None]
        hidden_b = self._compare(like_b, to_a, flags[1]) * mask_b[..., None]
        count_a, count_b = mask_a.sum(1, keepdim=True), mask_b.sum(1, keepdim=True)
        mean = hidden_a.sum(1) / count_a + hidden_b.sum(1) / count_b
        most = torch.maximum(hidden_a.amax(1), hidden_b.amax(1))
        covered = [self._coverage(x, off_a, off_b, mask_a, mask_b) for x in (plain, near)]
        shape = torch.stack(
            [cosine, (count_a + count_b)[:, 0].log(), (count_a / count_b)[:, 0].log().abs()], 1
        )
        return torch.cat([mean, most, *covered, shape], 1)

    def forward(self, joined: Tensor) -> Tensor:
        """Return log-odds [batch]."""
        x = self.dropout((joined - self.mean) / self.scale)
        return (torch.relu(x @ self.wide + self.wide_bias) @ self.out + self.out_bias)[:, 0]

    def _compare(self, own: Tensor, other: Tensor, flags: Tensor) -> Tensor:
        both = torch.cat([(own - other).abs(), own * other, flags], -1)
        return torch.relu(both @ self.compare + self.compare_bias)

    def _coverage(
        self, alike: Tensor, off_a: Tensor, off_b: Tensor, mask_a: Tensor, mask_b: Tensor
    ) -> Tensor:
        rows = self._covered((alike + off_b[:, None, :]).amax(2), mask_a)
        columns = self._covered((alike + off_a[:, :, None]).amax(1), mask_b)
        return torch.cat([torch.minimum(rows, columns), torch.maximum(rows, columns)], 1)

    def _covered(self, best: Tensor, mask: Tensor) -> Tensor:
        count = mask.sum(1)
        best = best * mask
        out = [best.sum(1) / count]
        # The worst fifth: padding is sorted to the end.
        ranked = torch.sort(best + (1 - mask) * 9, dim=1).values
        few = torch.clamp(torch.div(count, 5, rounding_mode="floor"), min=1)
        first = (torch.arange(best.shape[1])[None, :] < few[:, None]).float()
        out.append((ranked * first).sum(1) / few)
        sums = torch.cat([torch.zeros(len(best), 1), best.cumsum(1)], 1)
        for width in WINDOWS:
            size = torch.clamp(count, max=width).long()
            place = torch.arange(best.shape[1])[None, :]
            end = torch.clamp(place + size[:, None], max=best.shape[1])
            means = (sums.gather(1, end) - sums[:, :-1]) / size[:, None]
            inside = place + size[:, None] <= count[:, None]
            out.append(torch.where(inside, means, torch.full_like(means, 9.0)).amin(1))
        return torch.stack(out, 1)
