"""Chooses the next token of every sequence in a step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import torch

from backend_engine.request import Request
from backend_engine.sampling.grammar_mask import forbid
from backend_engine.sampling.penalties import adjust, needs_adjusting
from backend_engine.sampling.truncation import truncate

Draw = Callable[[torch.Tensor, Sequence[int], Sequence[Request]], list[int]]
"""Draws a token for each request from its row of the logits [.., vocab]; see `draw_in_torch`."""


class Sampler:
    """Greedy and random choice over a batch; a row's outcome never depends on its neighbours."""

    def __init__(self, end_ids: Iterable[int], draw: Draw | None = None) -> None:
        """`draw` draws; None stands for the one in torch."""
        self._end_ids = torch.tensor(sorted(end_ids), dtype=torch.int64)
        self._draw = draw or draw_in_torch

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
        tokens = best_tokens(logits)
        random = [row for row, request in enumerate(requests) if not request.params.greedy]
        if random:
            drawn = self._draw(logits, random, [requests[row] for row in random])
            for row, token in zip(random, drawn, strict=True):
                tokens[row] = token
        for row in guided:
            request = requests[row]
            assert request.guide is not None
            tokens[row] = request.guide.choose(
                tokens[row], request.params.max_tokens - request.num_output_tokens
            )
        return tokens


def best_tokens(logits: torch.Tensor) -> list[int]:
    """Return each row's likeliest token of `logits` [rows, vocab], the lowest id among equals.

    By numpy in one thread: 3 microseconds a row. torch's needs 40 for one, and for more it wakes its threads,
    which takes milliseconds where cores are shared.
    """
    tokens: list[int] = logits.numpy().argmax(axis=1).tolist()
    return tokens


def takes_best(request: Request) -> bool:
    """Tell whether the model's likeliest token is the request's next, come what may."""
    return request.params.greedy and request.guide is None and not needs_adjusting(request)


def draw_in_torch(logits: torch.Tensor, rows: Sequence[int], requests: Sequence[Request]) -> list[int]:
    """Draw for `requests` from `rows` of `logits`, by the inverse of the cumulative distribution."""
    logits = logits[list(rows)]
    params = [request.params for request in requests]
    temperature = torch.tensor([p.temperature for p in params]).unsqueeze(1)
    # A temperature near zero overflows to infinity unless the best logit is moved to 0 first.
    scaled = (logits - logits.amax(dim=1, keepdim=True)) / temperature
    cumulative = truncate(scaled, params).double().softmax(dim=1).cumsum(dim=1)
    points = torch.tensor([uniform(request) for request in requests], dtype=torch.float64).unsqueeze(1)
    # `right=True` finds the first token whose cumulative share exceeds the point, which has probability > 0.
    found = torch.searchsorted(cumulative, points * cumulative[:, -1:], right=True)
    tokens: list[int] = found[:, 0].clamp_(max=logits.shape[1] - 1).tolist()
    return tokens


def uniform(request: Request) -> float:
    """Return the number in [0, 1) that decides this request's next token.

    It is a hash of seed, sample and position, not the state of a generator: batching, preemption or
    a restart cannot shift it.
    """
    key = f"{request.seed}:{request.sample_index}:{request.num_output_tokens}".encode()
    bits = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 11
    return bits / (1 << 53)
