"""Paged attention equals plain attention over each sequence, however pages, chunks and batches fall."""

from __future__ import annotations

import random

import pytest
import torch

from backend_engine.attention.torch_cpu import TorchKVPages
from backend_engine.batch import ForwardBatch
from backend_engine.kv.dtype import KVDtype, kv_bytes_per_token
from backend_engine.model_config import ModelConfig

BLOCK = 4


def make_config(heads: int, kv_heads: int, head_dim: int = 8, layers: int = 2) -> ModelConfig:
    return ModelConfig(
        architecture="llama",
        vocab_size=10,
        hidden_size=heads * head_dim,
        intermediate_size=16,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=64,
    )


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, first: int) -> torch.Tensor:
    """Attend, one query and head at a time, in double precision."""
    out = torch.empty(q.shape, dtype=torch.float64)
    group = q.shape[1] // k.shape[1]
    for row in range(q.shape[0]):
        for head in range(q.shape[1]):
            past = k[: first + row + 1, head // group].double()
            scores = past @ q[row, head].double() / q.shape[2] ** 0.5
            out[row, head] = scores.softmax(0) @ v[: first + row + 1, head // group].double()
    return out


class PagedSequence:
    """One sequence's random q, k, v and its scattered pages."""

    def __init__(self, length: int, config: ModelConfig, blocks: list[int]) -> None:
        self.q = torch.randn(length, config.num_heads, config.head_dim)
        self.k = torch.randn(length, config.num_kv_heads, config.head_dim)
        self.v = torch.randn(length, config.num_kv_heads, config.head_dim)
        self.blocks = blocks
        self.done = 0


def step(
    pages: TorchKVPages, work: list[tuple[PagedSequence, int]], layer: int
) -> list[tuple[PagedSequence, torch.Tensor]]:
    """Compute the next tokens of several sequences in one batch; returns each one's output rows."""
    positions, slots, starts, contexts = [], [], [0], []
    for sequence, count in work:
        new = range(sequence.done, sequence.done + count)
        positions += new
        slots += [sequence.blocks[at // BLOCK] * BLOCK + at % BLOCK for at in new]
        starts.append(len(positions))
        contexts.append(sequence.done + count)
    widest = max(len(sequence.blocks) for sequence, _ in work)
    batch = ForwardBatch(
        token_ids=torch.zeros(len(positions), dtype=torch.int64),
        positions=torch.tensor(positions),
        slots=torch.tensor(slots),
        query_starts=tuple(starts),
        context_lengths=tuple(contexts),
        block_tables=torch.tensor([s.blocks + [0] * (widest - len(s.blocks)) for s, _ in work]),
        logit_rows=torch.tensor([], dtype=torch.int64),
    )
    attention = pages.prepare(batch)
    rows = [(s, slice(s.done, s.done + count)) for s, count in work]
    attention.write_kv(
        layer, torch.cat([s.k[r] for s, r in rows]), torch.cat([s.v[r] for s, r in rows]), batch
    )
    out = attention.forward(layer, torch.cat([s.q[r] for s, r in rows]), batch)
    results = []
    for (sequence, count), start in zip(work, starts, strict=False):
        results.append((sequence, out[start : start + count]))
        sequence.done += count
    return results


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-5), ("fp16", 2e-3), ("int8", 3e-2)])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (6, 2), (8, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_random_mixes_of_chunks_and_single_tokens(
    heads: int, kv_heads: int, seed: int, dtype: KVDtype, tolerance: float
) -> None:
    torch.manual_seed(seed)
    chance = random.Random(seed)
    config = make_config(heads, kv_heads)
    pages = TorchKVPages(config, 40, BLOCK, dtype)
    free = list(range(40))
    chance.shuffle(free)
    sequences = []
    for _ in range(4):
        length = chance.randrange(1, 30)
        count = -(-length // BLOCK)
        sequences.append(PagedSequence(length, config, [free.pop() for _ in range(count)]))
    while pending := [s for s in sequences if s.done < len(s.q)]:
        chosen = chance.sample(pending, chance.randrange(1, len(pending) + 1))
        work = [(s, min(chance.choice([1, 1, 2, 7]), len(s.q) - s.done)) for s in chosen]
        for sequence, out in step(pages, work, layer=1):
            first = sequence.done - len(out)
            expected = reference(sequence.q[first : sequence.done], sequence.k, sequence.v, first)
            torch.testing.assert_close(out.double(), expected, atol=tolerance, rtol=tolerance)


def test_layers_do_not_share_pages() -> None:
    config = make_config(2, 2)
    pages = TorchKVPages(config, 2, BLOCK, "fp32")
    sequence = PagedSequence(4, config, [1])
    step(pages, [(sequence, 4)], layer=0)
    assert pages.k.data[0].abs().sum() > 0
    assert pages.k.data[1].abs().sum() == 0


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_memory_is_what_kv_bytes_per_token_says(dtype: KVDtype) -> None:
    config = make_config(6, 2)
    pages = TorchKVPages(config, 5, BLOCK, dtype)
    stored = (pages.k.data, pages.v.data, pages.k.scales, pages.v.scales)
    held = sum(tensor.nbytes for tensor in stored if tensor is not None)
    assert held == kv_bytes_per_token(config, dtype) * 5 * BLOCK
