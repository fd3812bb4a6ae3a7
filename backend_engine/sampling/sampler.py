"""Chooses the next token of every sequence in a step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import torch

from backend_engine.request import Request
from backend_engine.sampling.grammar_mask import forbid
from backend_engine.sampling.penalties import adjust, needs_adjusting
from backend_engine.sampling.truncation import truncate


class Sampler:
    """Greedy and random choice over a batch; a row's outcome never depends on its neighbours."""

    def __init__(self, end_ids: Iterable[int]) -> None:
        self._end_ids = torch.tensor(sorted(end_ids), dtype=torch.int64)

    def sample(self, logits: torch.Tensor, requests: Sequence[Request]) -> list[int]:
        """Return one token id per row of `logits` [rows, vocab], row i being `requests[i]`'s; logits stay.

        The guides of `requests` advance by their tokens.
        """
        adjusted = [row for row, request in enumerate(requests) if needs_adjusting(request)]
        guided = [row for row, request in enumerate(requests) if request.guide is not None]
        if adjusted or guided:
            logits = logits.clone()
        for row in adjusted:
            adjust(logits[row], requests[row], self._end_ids)
        if guided:
            forbid(logits, requests)
        chosen = best_tokens(logits)
        random = [row for row, request in enumerate(requests) if not request.params.greedy]
        if random:
            chosen[random] = _draw(logits[random], [requests[row] for row in random])
        tokens: list[int] = chosen.tolist()
        for row in guided:
            request = requests[row]
            assert request.guide is not None
            tokens[row] = request.guide.choose(
                tokens[row], request.params.max_tokens - request.num_output_tokens
            )
        return tokens


def best_tokens(logits: torch.Tensor) -> torch.Tensor:
    """Return each row's likeliest token, the lowest id among equals: logits [rows, vocab] -> int64 [rows].

    By numpy in one thread: 3 microseconds a row. torch's needs 40 for one, and for more it wakes its threads,
    which takes milliseconds where cores are shared.
    """
    return torch.from_numpy(logits.numpy().argmax(axis=1))


def takes_best(request: Request) -> bool:
    """Tell whether the model's likeliest token is the request's next, come what may."""
    return request.params.greedy and request.guide is None and not needs_adjusting(request)


def _draw(logits: torch.Tensor, requests: Sequence[Request]) -> torch.Tensor:
    """Draw by inverting the cumulative distribution, in double precision, in token order."""
    params = [request.params for request in requests]
    temperature = torch.tensor([p.temperature for p in params]).unsqueeze(1)
    # A temperature near zero overflows to infinity unless the best logit is moved to 0 first.
    scaled = (logits - logits.amax(dim=1, keepdim=True)) / temperature
    cumulative = truncate(scaled, params).double().softmax(dim=1).cumsum(dim=1)
    points = torch.tensor([uniform(request) for request in requests], dtype=torch.float64).unsqueeze(1)
    # `right=True` finds the first token whose cumulative share exceeds the point, which has probability > 0.
    tokens = torch.searchsorted(cumulative, points * cumulative[:, -1:], right=True)
    return tokens[:, 0].clamp_(max=logits.shape[1] - 1)


def uniform(request: Request) -> float:
    """Return the number in [0, 1) that decides this request's next token.

    It is a hash of seed, sample and position, not the state of a generator: batching, preemption or
    a restart cannot shift it.
    """
    key = f"{request.seed}:{request.sample_index}:{request.num_output_tokens}".encode()
    bits = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 11
    return bits / (1 << 53)
