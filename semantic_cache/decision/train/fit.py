"""Training of the verifier: batches of like length, cross-entropy, one thread or two of CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import torch
from torch import Tensor

from semantic_cache.decision.tokens import FLAGS, Side, sides
from semantic_cache.decision.train.network import Network
from semantic_cache.decision.train.pairs import Pair
from semantic_cache.decision.train.reference_embedder import EncodedTexts
from semantic_cache.gates.text import parse

BATCH = 64
Say = Callable[[str], None]


class Examples:
    """Pairs with the rows of their encodings."""

    def __init__(self, pairs: Sequence[Pair], texts: Sequence[str], encoded: EncodedTexts) -> None:
        rows = {text: row for row, text in enumerate(texts)}
        self.pairs = pairs
        self.encoded = encoded
        self.rows = [(rows[pair.a], rows[pair.b]) for pair in pairs]
        self._read: dict[int, tuple[Side, Side, float, float] | None] = {}

    def read(self, index: int) -> tuple[Side, Side, float, float] | None:
        """Return both sides, their cosine and the label; None if the verifier would abstain."""
        if index not in self._read:
            self._read[index] = self._take_apart(index)
        return self._read[index]

    def _take_apart(self, index: int) -> tuple[Side, Side, float, float] | None:
        pair, (left, right) = self.pairs[index], self.rows[index]
        one, other = self.encoded[left], self.encoded[right]
        both = sides(parse(pair.a), parse(pair.b), one, other)  # type: ignore[arg-type]
        return None if both is None else (*both, float(one.vector @ other.vector), float(pair.same))

    def size(self, index: int) -> int:
        """Tokens of the longer side."""
        ends = self.encoded.ends
        return max(int(ends[row] - (ends[row - 1] if row else 0)) for row in self.rows[index])


def collate(items: Sequence[tuple[Side, Side, float, float]]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Pad a batch; returns the network's inputs and the labels."""
    out: list[Tensor] = []
    for side in (0, 1):
        longest = max(len(item[side].states) for item in items)  # type: ignore[union-attr]
        states = torch.zeros(len(items), longest, items[0][0].states.shape[1])
        flags = torch.zeros(len(items), longest, FLAGS)
        mask = torch.zeros(len(items), longest)
        for row, item in enumerate(items):
            one: Side = item[side]  # type: ignore[assignment]
            states[row, : len(one.states)] = torch.from_numpy(one.states)
            flags[row, : len(one.states)] = torch.from_numpy(one.flags)
            mask[row, : len(one.states)] = 1
        out += [states, flags, mask]
    cosine = torch.tensor([item[2] for item in items])
    return (*out, cosine), torch.tensor([item[3] for item in items])


def train(examples: Examples, held: Examples, *, epochs: int, seed: int, say: Say) -> Network:
    """Fit the network; `held` is only reported on."""
    torch.manual_seed(seed)
    random = Random(seed)
    network = Network(examples.encoded.tokens.shape[1])
    batches = _batches(examples, random)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * len(batches) + 1)
    begun = time.monotonic()
    _standardise(
        network, [examples.read(index) for index in batches[0] + batches[len(batches) // 2] + batches[-1]]
    )
    for epoch in range(epochs):
        random.shuffle(batches)
        total = 0.0
        network.train()
        for batch in batches:
            items = [item for index in batch if (item := examples.read(index))]
            if not items:
                continue
            (a, flags_a, mask_a, b, flags_b, mask_b, cosine), labels = collate(items)
            joined = network.joined(a, b, (flags_a, flags_b), (mask_a, mask_b), cosine)
            # Wrong accepts cost more than lost hits.
            weight = torch.where(labels > 0, 1.0, 1.5)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(joined), labels, weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        say(f"epoch {epoch + 1}: loss {total / len(batches):.4f}, held {_report(network, held)}, "
            f"{time.monotonic() - begun:.0f} s")  # fmt: skip
    network.eval()
    return network


def scores(network: Network, examples: Examples) -> list[float | None]:
    """Return log-odds for each pair."""
    network.eval()
    out: list[float | None] = []
    with torch.no_grad():
        for index in range(len(examples.pairs)):
            item = examples.read(index)
            if item is None:
                out.append(None)
                continue
            (a, flags_a, mask_a, b, flags_b, mask_b, cosine), _ = collate([item])
            joined = network.joined(a, b, (flags_a, flags_b), (mask_a, mask_b), cosine)
            out.append(float(network(joined)[0]))
    return out


def _batches(examples: Examples, random: Random) -> list[list[int]]:
    order = sorted(range(len(examples.pairs)), key=lambda index: (examples.size(index), random.random()))
    return [order[begin : begin + BATCH] for begin in range(0, len(order), BATCH)]


def _standardise(network: Network, items: list[tuple[Side, Side, float, float] | None]) -> None:
    (a, flags_a, mask_a, b, flags_b, mask_b, cosine), _ = collate([item for item in items if item])
    with torch.no_grad():
        joined = network.joined(a, b, (flags_a, flags_b), (mask_a, mask_b), cosine)
        network.mean.copy_(joined.mean(0))
        network.scale.copy_(joined.std(0).clamp(min=0.05))


def _report(network: Network, held: Examples) -> str:
    found = [
        (s, pair.same) for s, pair in zip(scores(network, held), held.pairs, strict=True) if s is not None
    ]
    right = np.mean([(s > 0) == same for s, same in found])
    different = sorted((s for s, same in found if not same), reverse=True)
    cut = different[len(different) // 100] if different else 0.0
    recall = np.mean([s > cut for s, same in found if same])
    return f"accuracy {right:.3f}, recall at 1% wrong {recall:.3f}"
