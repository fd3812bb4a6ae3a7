"""YaRN on the real model: a fact is found again from further away than the model was trained to look.

A prompt of more than 8,192 tokens takes minutes on two cores. What RoPE sees of a long prompt is distance, so
the distance is made by leaving out positions between the fact and the question, in a prompt of 450 tokens.
What this does not show is attention spread over thousands of other tokens.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.models.llama import LlamaModel
from backend_engine.tokenizer import Tokenizer
from tests.backend_engine.support.dense_attention import DenseAttention, prompts_batch
from tests.backend_engine.support.torch_models import build_model

THINGS = (
    "lighthouse",
    "harbour",
    "orchard",
    "quarry",
    "library",
    "bakery",
    "station",
    "mill",
    "tower",
    "bridge",
)
EVENTS = ("was built", "was repaired", "opened early", "was painted green", "stood empty", "was sold")
TIMES = ("in spring", "after the flood", "last autumn", "during the fair", "in the dry years")
TRIALS = 4


def filler(tokenizer: Tokenizer, tokens: int, chance: random.Random) -> list[int]:
    out: list[int] = []
    while len(out) < tokens:
        thing, other = chance.sample(THINGS, 2)
        sentence = f" The {thing} of the {other} {chance.choice(EVENTS)} {chance.choice(TIMES)}."
        out += tokenizer.encode(sentence, add_special=False)
    return out[:tokens]


@torch.inference_mode()
def recall(model: LlamaModel, tokenizer: Tokenizer, distance: int, seed: int) -> float:
    """Return the mean log-probability of a code that was told `distance` positions before the question."""
    chance = random.Random(seed)
    code = chance.randrange(10_000, 100_000)
    fact, question, answer = (
        tokenizer.encode(text, add_special=False)
        for text in (
            f" The secret code of the castle is {code}.",
            " The secret code of the castle is",
            f" {code}",
        )
    )
    before = filler(tokenizer, 150, chance) + fact + filler(tokenizer, 50, chance)
    after = filler(tokenizer, 200, chance) + question + answer
    ids = before + after
    positions = torch.cat((torch.arange(len(before)), distance + torch.arange(len(after))))
    batch = replace(prompts_batch([ids]), positions=positions)
    logits = model.logits(model.forward(batch, DenseAttention())[-len(answer) - 1 : -1])
    chosen = logits.log_softmax(dim=-1).gather(1, torch.tensor(answer).unsqueeze(1))
    return float(chosen.mean())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_yarn_finds_a_fact_past_the_trained_window(smollm2_path: Path) -> None:
    checkpoint = load_checkpoint(smollm2_path)
    window = checkpoint.config.max_position_embeddings
    # Without YaRN the engine refuses such positions: here the plain tables are simply made longer.
    configs = {
        "plain": replace(checkpoint.config, max_position_embeddings=2 * window),
        "yarn": checkpoint.config.served(None, 2.0),
    }
    scores: dict[tuple[str, int], float] = {}
    for name, config in configs.items():
        model = build_model(replace(checkpoint, config=config), quantization="none")
        for distance in (600, 12_000):
            trials = [recall(model, checkpoint.tokenizer, distance, seed) for seed in range(TRIALS)]
            scores[name, distance] = sum(trials) / TRIALS
    print({f"{name} at {distance}": round(score, 3) for (name, distance), score in scores.items()})
    assert scores["plain", 600] > -0.5
    assert scores["plain", 12_000] < -2.0, "the model finds it unaided, so this shows nothing"
    assert scores["yarn", 600] > -0.5
    assert scores["yarn", 12_000] > -0.5
