"""Compression by what the bundled engine's model finds hard to guess, ours and as two papers do it.

`perplexity-blind` keeps the words that say most (Selective Context, Li et al. 2023) and `llmlingua` what is
left by its budget, its coarse step and its segments (Jiang et al. 2023): own code from the papers' formulas,
not the authors' packages. Neither sees the question. `longllmlingua` does (Jiang et al. 2024): documents get
more or less by how likely the question is after them, and words stay for what the question tells of them;
documents keep their order. All get the same budget and the same model, as does `scorer`: ours with
`compress.scorer`.

A model reads everything here, so only some of the questions are asked: `scored_…` is of those, whoever it is
of. `reads_…` is how much the model reads for a prompt, in lengths of the prompt.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import msgspec

from backend_engine.launcher import EngineOptions, launch
from benchmarks._cache_progress import say
from benchmarks._compress_data import Case
from gateway.compression.perplexity import selective
from gateway.compression.perplexity.budget import Components, coarse, documents_rate, gamma, iterative
from gateway.compression.perplexity.contrastive import contrast, ranks, rate_of_rank
from gateway.compression.perplexity.nll import Position, Score, Token, aligned, mean, of_spans
from gateway.compression.perplexity.prune import words
from gateway.compression.perplexity.reading import Read, reading_with

CHARS_PER_TOKEN = 4
AHEAD = 1600
"""Characters of a text that surely hold a segment of 200 tokens."""
SLACK = 100
"""Tokens by which the coarse step may go beyond its budget, for the fine one to take away."""
AT_ONCE = 8
BETWEEN = "\n\n"
Figures = dict[str, Any]
Shorten: TypeAlias = Callable[[Case, int, Score], Awaitable[str]]
"""Makes the documents of a case fit into so many characters."""
Ours: TypeAlias = Callable[[Case, float, Read | None], Awaitable[str]]
"""Makes a case's prompt so many times smaller, in our way."""


class _Choice(msgspec.Struct):
    index: int
    prompt_logprobs: list[Position]


class _Reply(msgspec.Struct):
    choices: list[_Choice]


_DECODE = msgspec.json.Decoder(_Reply).decode


@dataclass(slots=True)
class Spent:
    """What a way has had read."""

    characters: int = 0


@contextlib.asynccontextmanager
async def scoring(model: Path, spent: Spent) -> AsyncIterator[Score]:
    """Run an engine that tells the likelihoods of texts."""
    options = EngineOptions(
        model=str(model), model_name="model", port=0, prefix_cache=False, speculation="off", kv_memory_mb=1024
    )
    engine = await launch(options)
    read: dict[str, list[Token]] = {}
    try:
        async with aiohttp.ClientSession(engine.url) as http:

            async def score(texts: Sequence[str]) -> list[list[Token]]:
                # Several ways read the same documents, for each ratio again.
                new = [text for text in dict.fromkeys(texts) if text not in read]
                for first in range(0, len(new), AT_ONCE):
                    some = new[first : first + AT_ONCE]
                    read.update(zip(some, await _ask(http, some), strict=True))
                spent.characters += sum(map(len, texts))
                return [read[text] for text in texts]

            yield score
    finally:
        await engine.stop()


async def _ask(http: aiohttp.ClientSession, texts: Sequence[str]) -> list[list[Token]]:
    body = {"model": "model", "prompt": list(texts), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    async with http.post("/v1/completions", json=body) as response:
        if response.status != 200:
            raise SystemExit(f"the engine answered {response.status}: {await response.text()}")
        choices = _DECODE(await response.read()).choices
    told = {choice.index: choice.prompt_logprobs for choice in choices}
    return [aligned(text, told[place]) for place, text in enumerate(texts)]


async def selective_context(case: Case, budget: int, score: Score) -> str:
    """Return the documents' words of the highest self-information."""
    documents = case.documents.split(BETWEEN)
    found = await score(documents)
    values: list[float] = []
    sizes: list[int] = []
    for text, tokens in zip(documents, found or (), strict=True):
        spans = words([text])
        values += selective.information(tokens, text, spans)
        sizes += [end - start + 1 for start, end in spans]
    kept = selective.fitting(values, sizes, budget)
    out: list[str] = []
    place = 0
    for text in documents:
        spans = words([text])
        out.append(" ".join(text[a:b] for at, (a, b) in enumerate(spans, place) if at in kept))
        place += len(spans)
    return BETWEEN.join(text for text in out if text)[:budget]


async def llmlingua(case: Case, budget: int, score: Score) -> str:
    """Return the documents that surprise most, without their guessable tokens."""
    documents = case.documents.split(BETWEEN)
    found = await score(documents)
    assert found is not None
    sizes = [len(tokens) for tokens in found]
    whole = Components(
        len(case.instruction) // CHARS_PER_TOKEN, sum(sizes), len(case.question) // CHARS_PER_TOKEN
    )
    fixed = len(case.prompt) - len(case.documents)
    rate = documents_rate((fixed + budget) / len(case.prompt), whole)
    target = rate * whole.documents
    chosen = coarse([mean([token.nll for token in tokens]) for tokens in found], sizes, target + SLACK)
    text = BETWEEN.join(documents[place] for place in chosen)
    left = target / max(1, sum(sizes[place] for place in chosen))

    async def nlls(kept: str, rest: str) -> list[Token]:
        rest = rest[:AHEAD]
        told = await score([kept + rest])
        assert told is not None
        shift = len(kept)
        return [
            Token(max(0, token.start - shift), token.end - shift, token.nll)
            for token in told[0]
            if token.end > shift
        ]

    return (await iterative(text, min(1.0, left), nlls))[:budget]


async def longllmlingua(case: Case, budget: int, score: Score) -> str:
    """Return the documents' tokens of which the question tells most, more of documents that tell of it."""
    documents = case.documents.split(BETWEEN)
    asked = await score([f"{text}{BETWEEN}{case.question}" for text in documents])
    assert asked is not None
    likelihoods = [
        mean(of_spans(tokens, f"{text}{BETWEEN}{case.question}", [(start, start + len(case.question))])[0])
        for text, tokens in zip(documents, asked, strict=True)
        for start in [len(text) + len(BETWEEN)]
    ]
    before = f"{case.question}{BETWEEN}"
    told = await score([before + text for text in documents])
    assert told is not None
    rate = budget / len(case.documents)
    out: list[str] = []
    for text, alone, after, rank in zip(documents, asked, told, ranks(likelihoods), strict=True):
        spans = words([text])
        one, other = (
            [sum(nlls) for nlls in of_spans(tokens, prompt, [(a + by, b + by) for a, b in spans])]
            for tokens, prompt, by in (
                (alone, f"{text}{BETWEEN}{case.question}", 0),
                (after, before + text, len(before)),
            )
        )
        values = contrast(one, other)
        least = gamma(values, rate_of_rank(rate, rank, len(documents)))
        out.append(" ".join(text[a:b] for (a, b), value in zip(spans, values, strict=True) if value > least))
    return BETWEEN.join(text for text in out if text)[:budget]


WAYS: dict[str, Shorten] = {
    "perplexity-blind": selective_context,
    "llmlingua": llmlingua,
    "longllmlingua": longllmlingua,
}


async def compare(
    model: Path, cases: Sequence[Case], ratios: Sequence[int], ours: Ours
) -> tuple[Figures, dict[str, Figures]]:
    """Return our figures for these questions, and the same of each way that reads them with a model."""
    peers: dict[str, Figures] = {name: {} for name in (*WAYS, "scorer")}
    figures: Figures = {"scored_questions": len(cases)}
    spent = Spent()
    async with scoring(model, spent) as score:
        for ratio in ratios:
            figures |= _kept(cases, [await ours(case, ratio, None) for case in cases], ratio)
            for name, shorten in WAYS.items():
                spent.characters = 0
                prompts = []
                for case in cases:
                    fixed = len(case.prompt) - len(case.documents)
                    budget = max(0, int(len(case.prompt) / ratio) - fixed)
                    prompts.append(case.around(await shorten(case, budget, score)))
                peers[name] |= _kept(cases, prompts, ratio) | _read(cases, spent, ratio)
                say(f"{name} at {ratio}x: {len(cases)} questions")
            spent.characters = 0
            read = reading_with(score)
            peers["scorer"] |= _kept(cases, [await ours(case, ratio, read) for case in cases], ratio)
            peers["scorer"] |= _read(cases, spent, ratio)
            say(f"scorer at {ratio}x: {len(cases)} questions")
    return figures, peers


def _kept(cases: Sequence[Case], prompts: Sequence[str], ratio: int) -> Figures:
    recall = statistics.fmean(case.survives(prompt) for case, prompt in zip(cases, prompts, strict=True))
    size = sum(len(case.prompt) for case in cases) / max(1, sum(map(len, prompts)))
    return {f"scored_recall_{ratio}x": round(recall, 4), f"scored_ratio_{ratio}x": round(size, 2)}


def _read(cases: Sequence[Case], spent: Spent, ratio: int) -> Figures:
    return {f"reads_{ratio}x": round(spent.characters / sum(len(case.prompt) for case in cases), 3)}
