"""The strategies with SmolLM2-135M, which always says something: it is checked, and facts are found."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.window.base import Means, Overlong, Progress, Strategy
from gateway.window.retrieval import Retrieval
from gateway.window.sliding import SlidingWindow
from gateway.window.summaries import HierarchicalSummary
from tests.gateway.window.strategy_means import document

pytestmark = pytest.mark.long

FACT = "The abbot of Quenby keeps lute 4417 behind the altar."
QUESTION = "Where does the abbot of Quenby keep his lute?"
BUDGET, WINDOW = 900, 1200
TEMPLATE_TOKENS = 40


def count(text: str) -> int:
    """Count somewhat more than the model's tokens: it has one for every digit."""
    return -(-len(text.encode()) // 3)


@pytest.fixture
async def means(engine_url: str) -> AsyncIterator[Means]:
    """The real engine, and nobody who ranks."""
    async with aiohttp.ClientSession(engine_url) as http:

        async def ask(prompt: str, tokens: int) -> str:
            body = {"model": "smollm2", "messages": [{"role": "user", "content": prompt}]}
            options = {"max_tokens": tokens, "temperature": 0}
            async with http.post("/v1/chat/completions", json=body | options) as response:
                said = await response.json()
                assert response.status == 200, said
                assert said["usage"]["prompt_tokens"] <= WINDOW + TEMPLATE_TOKENS
                return str(said["choices"][0]["message"]["content"])

        async def rank(question: str, texts: object) -> None:
            return None

        yield Means(count, ask, rank, lambda step: None)


@pytest.mark.parametrize("place", [0, 30, 59])
@pytest.mark.parametrize(
    "strategy", [Retrieval(), SlidingWindow(), HierarchicalSummary()], ids=lambda one: one.name
)
async def test_a_fact_is_found_at_every_depth(strategy: Strategy, place: int, means: Means) -> None:
    left = await strategy.shorten(Overlong(document(60, {place: FACT}), QUESTION, BUDGET, WINDOW), means)
    assert FACT in left and count(left) <= BUDGET


@pytest.mark.parametrize("strategy", [SlidingWindow(), HierarchicalSummary()], ids=lambda one: one.name)
async def test_no_number_is_left_that_the_text_does_not_have(strategy: Strategy, means: Means) -> None:
    text = document(60, {30: FACT})
    steps: list[Progress] = []
    told = Means(means.count, means.ask, means.rank, steps.append)
    left = await strategy.shorten(Overlong(text, "How many people live in Hamlet 7?", BUDGET, WINDOW), told)
    said = " ".join(re.findall(r"^(?:Note|Summary): (.*)$", left, re.MULTILINE))
    assert set(re.findall(r"\d+", said)) <= set(re.findall(r"\d+", text)) | {"7"}
    assert steps


async def test_an_unchanged_beginning_is_asked_about_in_the_same_words(means: Means) -> None:
    asked: list[list[str]] = []

    async def noting(prompt: str, tokens: int) -> str:
        asked[-1].append(prompt)
        return await means.ask(prompt, tokens)

    told = Means(means.count, noting, means.rank, means.progress)
    for passages in (40, 50):
        asked.append([])
        await SlidingWindow().shorten(Overlong(document(passages), QUESTION, BUDGET, WINDOW), told)
    assert len(set(asked[0]) - set(asked[1])) <= 1
