"""Tokens are drawn from the distribution that was asked for, whoever else is in the batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.request import Request
from backend_engine.sampling.logprobs import position_logprobs
from backend_engine.sampling.params import SamplingParams
from backend_engine.sampling.sampler import Sampler, uniform
from backend_engine.sampling.truncation import truncate
from tests.backend_engine.support.chi_square import assert_follows

VOCAB = 50
END = 7


def make_request(
    prompt: list[int] | None = None, output: list[int] | None = None, seed: int = 0, **settings: object
) -> Request:
    params = SamplingParams(**{"max_tokens": 1000, "temperature": 1.0, **settings})  # type: ignore[arg-type]
    detokenizer = IncrementalDetokenizer(lambda token: b"x")
    request = Request("r", prompt or [1], params, detokenizer, seed=seed)
    request.token_ids += output or []
    return request


def random_logits(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * 2


def drawn(logits: torch.Tensor, count: int, **settings: object) -> Counter[int]:
    """Draw `count` tokens, each with a seed of its own, in batches."""
    requests = [make_request(seed=seed, **settings) for seed in range(count)]
    return Counter(Sampler([END]).sample(logits.expand(count, -1).contiguous(), requests))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 1.7, "top_p": 0.8},
        {"top_k": 5},
        {"top_k": 20, "top_p": 0.6},
        {"min_p": 0.2},
        {"top_k": 30, "top_p": 0.95, "min_p": 0.05},
    ],
)
def test_draws_follow_the_distribution_that_transformers_would_sample_from(
    settings: dict[str, float],
) -> None:
    from transformers import (
        LogitsProcessorList,
        MinPLogitsWarper,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    logits = random_logits(1, seed=3)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(settings.get("temperature", 1.0)))])
    if "top_k" in settings:
        warpers.append(TopKLogitsWarper(int(settings["top_k"])))
    if "top_p" in settings:
        warpers.append(TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        warpers.append(MinPLogitsWarper(settings["min_p"]))
    reference = warpers(torch.zeros(1, 1, dtype=torch.long), logits).softmax(-1)[0]

    assert_follows(drawn(logits, 20_000, **settings), reference)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("top_k", [0, 1, 100, 3000])
def test_truncation_of_a_flat_distribution_needs_more_than_its_head(top_k: int, top_p: float) -> None:
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = torch.rand(2, 5000, generator=torch.Generator().manual_seed(1)) * 0.1
    reference = logits
    if top_k:
        reference = TopKLogitsWarper(top_k)(torch.zeros(2, 1), reference)
    reference = TopPLogitsWarper(top_p)(torch.zeros(2, 1), reference)
    ours = truncate(logits, [SamplingParams(max_tokens=1, top_k=top_k, top_p=top_p)] * 2)
    difference = (ours.isinf() != reference.isinf()).sum().item()
    assert difference <= 4, "at most the token at the edge may differ by rounding"
    assert (~ours.isinf()).any(dim=1).all()


def test_greedy_takes_the_lowest_of_equal_tokens() -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, [20, 30]] = 5.0
    assert Sampler([END]).sample(logits, [make_request(temperature=0)]) == [20]


def test_a_rows_token_does_not_depend_on_its_neighbours() -> None:
    settings: list[dict[str, object]] = [
        {},
        {"temperature": 0},
        {"top_p": 0.5},
        {"top_k": 3},
        {"min_p": 0.3, "temperature": 1.4},
        {"repetition_penalty": 1.5},
        {"logit_bias": {5: 4.0}},
    ]
    logits = random_logits(len(settings))
    requests = [make_request([1, 2], [3, 3], seed=9, **s) for s in settings]
    together = Sampler([END]).sample(logits, requests)
    alone = [Sampler([END]).sample(logits[i : i + 1], [requests[i]])[0] for i in range(len(settings))]
    backwards = Sampler([END]).sample(logits.flip(0), requests[::-1])
    assert together == alone == backwards[::-1]


def test_the_same_seed_draws_the_same_tokens_and_samples_differ() -> None:
    request = make_request(seed=5)
    first = [uniform(request)]
    request.token_ids.append(1)
    first.append(uniform(request))
    again = make_request(seed=5)
    assert uniform(again) == first[0] != first[1]
    again.sample_index = 1
    assert uniform(again) != first[0]


def test_temperature_close_to_zero_is_greedy_and_finite() -> None:
    logits = random_logits(1) * 1000
    assert Sampler([END]).sample(logits, [make_request(temperature=1e-6)]) == [int(logits.argmax())]


def test_repetition_penalty_equals_transformers() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = random_logits(1, seed=8)
    request = make_request([4, 9], [9, 12], repetition_penalty=1.3, temperature=0)
    reference = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([request.token_ids]), logits.clone())
    assert Sampler([END]).sample(logits, [request]) == reference.argmax(-1).tolist()
    from backend_engine.sampling.penalties import adjust

    ours = logits[0].clone()
    adjust(ours, request, torch.tensor([END]))
    assert torch.equal(ours, reference[0])


def test_presence_and_frequency_penalties_count_output_tokens_only() -> None:
    from backend_engine.sampling.penalties import adjust

    logits = torch.zeros(VOCAB)
    request = make_request([3, 3], [5, 5, 6], presence_penalty=0.5, frequency_penalty=0.25)
    adjust(logits, request, torch.tensor([END]))
    assert logits[3] == 0
    assert logits[5] == pytest.approx(-0.5 - 2 * 0.25)
    assert logits[6] == pytest.approx(-0.5 - 0.25)


def test_logit_bias_can_force_and_ban_a_token() -> None:
    logits = random_logits(1)
    forced = make_request(logit_bias={11: 100}, temperature=0)
    assert Sampler([END]).sample(logits, [forced]) == [11]
    banned = drawn(logits, 2000, logit_bias={int(logits.argmax()): -100})
    assert banned[int(logits.argmax())] == 0


def test_below_min_tokens_no_end_token_is_drawn() -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, END] = 50.0
    short = make_request(output=[1], min_tokens=2, temperature=0)
    enough = make_request(output=[1, 1], min_tokens=2, temperature=0)
    assert Sampler([END]).sample(logits, [short]) != [END]
    assert Sampler([END]).sample(logits, [enough]) == [END]


def test_sampling_leaves_the_logits_as_they_are() -> None:
    logits = random_logits(2)
    before = logits.clone()
    Sampler([END]).sample(logits, [make_request(repetition_penalty=2.0), make_request(logit_bias={1: 5})])
    assert torch.equal(logits, before)


def test_logprobs_are_of_the_raw_logits_and_ranked() -> None:
    logits = random_logits(2)
    reference = logits.log_softmax(-1)
    order = reference[0].argsort(descending=True).tolist()
    first, second = position_logprobs(logits, [order[2], 0], [3, 0])
    assert first.rank == 3
    assert first.logprob == pytest.approx(reference[0, order[2]].item())
    assert [token for token, _ in first.top] == order[:3]
    assert second.top == ()
