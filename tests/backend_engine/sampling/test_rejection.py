"""Verified drafts leave the distribution, and for a seed the very text, as it is without them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
import torch

from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.request import Request, Status
from backend_engine.sampling.params import SamplingParams
from backend_engine.sampling.rejection import Verification, verify
from backend_engine.sampling.sampler import Sampler
from backend_engine.sampling.truncation import truncate
from tests.backend_engine.support.chi_square import assert_follows

VOCAB = 12
LOGITS = torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(3)) * 1.5
"""A model: row t holds the logits after token t."""


def running(seed: int, **settings: object) -> Request:
    params = SamplingParams(**{"max_tokens": 1000, "temperature": 1.0, **settings})  # type: ignore[arg-type]
    request = Request("r", [0], params, IncrementalDetokenizer(lambda token: b"x"), seed=seed)
    request.status = Status.RUNNING
    return request


def step(requests: Sequence[Request], drafts: Sequence[Sequence[int]]) -> list[Verification]:
    """Do what a step does: logits after the last token and after each drafted one, then verification."""
    sampler, rows, items = Sampler([]), [], []
    for request, draft in zip(requests, drafts, strict=True):
        items.append(Verification(request, len(rows), draft))
        rows += [LOGITS[token] for token in (request.token_ids[-1], *draft)]
    logits = torch.stack(rows)

    def advance(pending: Sequence[Verification]) -> list[int]:
        tokens = sampler.sample(logits[[item.row for item in pending]], [item.request for item in pending])
        for item, token in zip(pending, tokens, strict=True):
            item.request.token_ids.append(token)
        return tokens

    verify(items, advance)
    return items


SETTINGS: dict[str, dict[str, object]] = {
    "plain": {},
    "temperature": {"temperature": 0.6},
    "top-k": {"top_k": 4},
    "top-p": {"top_p": 0.7},
    "min-p": {"min_p": 0.1},
    "all": {"temperature": 1.3, "top_k": 8, "top_p": 0.9, "min_p": 0.02},
}


def target(token: int, settings: dict[str, object]) -> torch.Tensor:
    """Probabilities after `token`, without any of the sampler's code but truncation."""
    params = running(0, **settings).params
    return truncate(LOGITS[token][None] / params.temperature, [params]).double().softmax(dim=1)[0]


@pytest.mark.parametrize("name", SETTINGS)
def test_pairs_of_tokens_follow_the_target_whatever_was_drafted(name: str) -> None:
    settings = SETTINGS[name]
    best = int(LOGITS[0].argmax())
    requests = [running(seed, **settings) for seed in range(6000)]
    # Likely, unlikely, impossible and no drafts: the text must not show which.
    step(requests, [((best, 1), (seed % VOCAB, best), (), (3,))[seed % 4] for seed in range(6000)])
    short = [request for request in requests if request.num_output_tokens < 2]
    step(short, [()] * len(short))
    counts = Counter(request.output_ids[0] * VOCAB + request.output_ids[1] for request in requests)
    joint = torch.cat([target(0, settings)[first] * target(first, settings) for first in range(VOCAB)])
    assert_follows(counts, joint)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_draft_is_accepted_as_often_as_the_target_would_choose_it(name: str) -> None:
    settings = SETTINGS[name]
    for token in range(VOCAB):
        requests = [running(seed, **settings) for seed in range(1500)]
        accepted = sum(item.num_accepted for item in step(requests, [(token,)] * len(requests)))
        counts = Counter({0: len(requests) - accepted, 1: accepted})
        probability = target(0, settings)[token]
        assert_follows(counts, torch.stack([1 - probability, probability]))


def text(seed: int, drafts: Sequence[Sequence[int]], **settings: object) -> list[int]:
    request = running(seed, **settings)
    for draft in itertools.cycle(drafts):
        step([request], [draft])
        if request.num_output_tokens >= 40:
            return request.output_ids[:40]
    raise AssertionError


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {},
        {"repetition_penalty": 1.4},
        {"presence_penalty": 1.0, "frequency_penalty": 0.5},
    ],
)
def test_a_seeds_text_is_the_same_with_any_drafts(settings: dict[str, object]) -> None:
    for seed in range(20):
        plain = text(seed, [()], **settings)
        wild = [tuple((seed + at * 5) % VOCAB for at in range(size)) for size in (1, 3, 0, 7)]
        assert text(seed, wild, **settings) == plain
        # Right drafts: the tokens of the text itself, some of them cut short by a wrong one.
        request, at = running(seed, **settings), 0
        while request.num_output_tokens < 40:
            done = request.num_output_tokens
            draft = plain[done : done + 5]
            if at % 3 == 1 and len(draft) > 2:
                draft[2] = (draft[2] + 1) % VOCAB
            [item] = step([request], [draft])
            at += 1
            if done + 6 < 40:
                assert item.num_accepted == (2 if at % 3 == 2 else 5)
        assert request.output_ids[:40] == plain


def test_a_sequence_that_ends_in_its_draft_is_not_advanced() -> None:
    request, asked = running(0), []

    def advance(pending: Sequence[Verification]) -> list[int]:
        asked.append(len(pending))
        request.status = Status.FINISHED
        return [5]

    item = Verification(request, 0, (5, 5))
    verify([item], advance)
    assert asked == [1]
    assert item.num_accepted == 1


def test_sequences_with_and_without_drafts_share_a_step() -> None:
    requests = [running(seed, temperature=0) for seed in range(3)]
    best = [int(LOGITS[0].argmax())]
    best.append(int(LOGITS[best[0]].argmax()))
    items = step(requests, [best, (), [best[0], (best[1] + 1) % VOCAB]])
    assert [item.num_accepted for item in items] == [2, 0, 1]
    assert [request.num_output_tokens for request in requests] == [3, 1, 2]
