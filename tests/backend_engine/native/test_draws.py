"""The native kernel draws what torch draws, from the same distribution, in any company."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.native.build import supported_sets
from backend_engine.native.draws import NativeDraws
from backend_engine.native.library import Library, Team
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.sampling.sampler import draw_in_torch
from backend_engine.sampling.truncation import truncate
from tests.backend_engine.support.chi_square import assert_follows

SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3},
    {"temperature": 1e-5},
    {"temperature": 1.7, "top_p": 0.8},
    {"top_p": 0.999},
    {"top_k": 1},
    {"top_k": 40},
    {"top_k": 3000, "top_p": 0.95},
    {"top_k": 20, "top_p": 0.6, "temperature": 0.6},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"top_k": 30, "top_p": 0.95, "min_p": 0.05},
]


def make_request(seed: int, settings: dict[str, Any]) -> Request:
    params = SamplingParams(**{"max_tokens": 10, "temperature": 1.0, **settings})
    return Request("r", [1], params, IncrementalDetokenizer(lambda token: b"x"), seed=seed)


def random_logits(rows: int, vocab: int, scale: float, seed: int) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.fixture(scope="module", params=supported_sets())
def draws(request: pytest.FixtureRequest) -> NativeDraws:
    return NativeDraws(Team(Library(request.param), 2))


def both(draws: NativeDraws, logits: torch.Tensor, requests: Sequence[Request]) -> None:
    rows = range(len(requests))
    assert draws(logits, rows, requests) == draw_in_torch(logits, rows, requests)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(("vocab", "scale"), [(49_152, 3.0), (5003, 0.1), (703, 2.0), (17, 1.0), (3, 1.0)])
def test_they_are_those_of_torch(
    draws: NativeDraws, settings: dict[str, Any], vocab: int, scale: float
) -> None:
    """Flat distributions need more than their head; a vocabulary need be no multiple of anything."""
    both(draws, random_logits(40, vocab, scale, seed=vocab), [make_request(s, settings) for s in range(40)])


@pytest.mark.parametrize("settings", [SETTINGS[0], SETTINGS[3], SETTINGS[8], SETTINGS[9]], ids=str)
def test_they_follow_the_distribution(draws: NativeDraws, settings: dict[str, Any]) -> None:
    logits = random_logits(1, 50, 2.0, seed=3)
    requests = [make_request(seed, settings) for seed in range(20_000)]
    params = requests[0].params
    expected = truncate((logits - logits.max()) / params.temperature, [params]).softmax(-1)[0]
    assert_follows(Counter(draws(logits, [0] * len(requests), requests)), expected)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_what_is_forbidden_is_never_drawn(draws: NativeDraws, settings: dict[str, Any]) -> None:
    logits = torch.full((60, 703), -torch.inf)
    logits[:, [5, 300, 701]] = torch.tensor([1.0, 1.1, 1.2])
    requests = [make_request(seed, settings) for seed in range(60)]
    assert set(draws(logits, range(60), requests)) <= {5, 300, 701}
    both(draws, logits, requests)


def test_equals_of_the_last_token_kept_are_kept(draws: NativeDraws) -> None:
    logits = torch.zeros(1, 100)
    requests = [make_request(seed, {"top_k": 3}) for seed in range(2000)]
    assert len(set(draws(logits, [0] * 2000, requests))) == 100


def test_a_row_does_not_depend_on_its_neighbours(draws: NativeDraws) -> None:
    logits = random_logits(len(SETTINGS), 703, 2.0, seed=1)
    requests = [make_request(9, settings) for settings in SETTINGS]
    rows = list(range(len(requests)))
    together = draws(logits, rows, requests)
    assert together == [draws(logits, [row], [requests[row]])[0] for row in rows]
    assert together[::-1] == draws(logits, rows[::-1], requests[::-1])
