"""What the strategies for overlong texts find: facts hidden in a document of 40,000 tokens, at five depths.

The bundled engine, with a window of 4,096 tokens, answers from what a strategy leaves of the document; the
strategies ask the same engine, over HTTP. `found`: the fact is in the last prompt, word for word. `answered`:
the words that answer the question are in the engine's answer, which with SmolLM2-135M says more about the
reader than about the strategy. Equal prompts are sent once, as the gateway's exact cache does; the engine's
prefix cache is on. So the first question about a document takes longest: `first_s`, beside `later_s`, the
mean of the others.

`truncate-head` and `truncate-tail` keep the beginning and the end, `compress` is the compressor at the ratio
that fits. `yarn` is the engine with its window stretched so far that it reads everything. A model with a
larger window is not measured, only priced.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from backend_engine.launcher import EngineOptions, launch
from benchmarks._overlong_data import DEPTHS, INSTRUCTION, Asked, cases
from gateway.compression.compress import compress
from gateway.compression.mode import Mode
from gateway.compression.prompt import read_messages
from gateway.errors import UpstreamUnreachable
from gateway.window.base import CannotShorten, Means, Overlong, Progress, Rank, Strategy
from gateway.window.retrieval import Retrieval
from gateway.window.sliding import SlidingWindow
from gateway.window.summaries import HierarchicalSummary

TOKENS = 40_000
WINDOW = 4096
FRAME_TOKENS = 160
"""Instruction, question, chat template."""
ANSWER_TOKENS = 32
AT_ONCE = 2
PRICE_INPUT, PRICE_OUTPUT = 2.5, 10.0
"""US dollars for a million tokens, as in the example of the configuration."""
YARN_FACTOR = 5.5
SAMPLE_CHARS = 8000
TIMEOUT_S = 3600.0
"""Reading all of the document with a stretched window takes long."""
OURS = (Retrieval.name, SlidingWindow.name, HierarchicalSummary.name)
Figures = dict[str, Any]


def count(text: str) -> int:
    """Return somewhat more than the tokens of a text, as the gateway has to guess them."""
    return -(-len(text.encode()) * 2 // 7)


@dataclass(slots=True)
class Spent:
    """What was asked of the engine."""

    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    @property
    def dollars(self) -> float:
        """The price of it."""
        return (self.prompt_tokens * PRICE_INPUT + self.output_tokens * PRICE_OUTPUT) / 1e6


@dataclass(frozen=True, slots=True)
class Result:
    """One question by one strategy."""

    depth: int
    found: bool
    answered: bool
    spent: Spent


@dataclass(slots=True)
class Engine:
    """The bundled engine, which answers equal prompts once."""

    http: aiohttp.ClientSession
    spent: Spent = field(default_factory=Spent)
    _answers: dict[tuple[str, int], str] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def ask(self, prompt: str, tokens: int) -> str:
        """Return the answer to a prompt."""
        if (prompt, tokens) not in self._answers:
            async with self._slots:
                self._answers[prompt, tokens] = await self._asked(prompt, tokens)
        return self._answers[prompt, tokens]

    async def _asked(self, prompt: str, tokens: int) -> str:
        body = {"model": "model", "messages": [{"role": "user", "content": prompt}]}
        options = {"max_tokens": tokens, "temperature": 0}
        async with self.http.post("/v1/chat/completions", json=body | options) as response:
            said = msgspec.json.decode(await response.read())
        if response.status != 200:
            raise UpstreamUnreachable(f"the engine answered {response.status}: {said}")
        self.spent.calls += 1
        self.spent.prompt_tokens += said["usage"]["prompt_tokens"]
        self.spent.output_tokens += said["usage"]["completion_tokens"]
        return str(said["choices"][0]["message"]["content"])

    async def chars_per_token(self, text: str) -> float:
        """Return how many characters of a text make a token."""
        await self._asked(text[:SAMPLE_CHARS], 1)
        return min(len(text), SAMPLE_CHARS) / self.spent.prompt_tokens


Shorten = Callable[[Overlong], Awaitable[str]]


async def keep_head(overlong: Overlong) -> str:
    """Return the beginning that fits."""
    return overlong.text[: _chars(overlong)]


async def keep_tail(overlong: Overlong) -> str:
    """Return the end that fits."""
    return overlong.text[len(overlong.text) - _chars(overlong) :]


def _chars(overlong: Overlong) -> int:
    return int(len(overlong.text) * overlong.budget / count(overlong.text))


def compressor(rank: Rank) -> Shorten:
    """Return the compressor at the ratio that fits, whatever that is."""

    async def shorten(overlong: Overlong) -> str:
        prompt = f"{INSTRUCTION}\n\n{overlong.text}\n\nQuestion: {overlong.question}"
        body = msgspec.json.encode([{"role": "user", "content": prompt}])
        messages = read_messages(body, 0, len(body))
        # The marks of what is left out take some of the room.
        ratio = 1.05 * count(prompt) / overlong.budget
        done = await compress(messages, Mode("ratio", ratio), rank=rank)
        text = done.changes[0].value if done.changes else prompt
        return text.removeprefix(INSTRUCTION).removesuffix(f"Question: {overlong.question}").strip()

    return shorten


def strategy(one: Strategy, engine: Engine, rank: Rank) -> Shorten:
    """Return what a strategy makes of a text, with its progress on standard error."""

    def progress(step: Progress) -> None:
        if step.done == step.of or step.done % 10 == 0:
            _say(f"    {step.step}: {step.done} of {step.of}")

    means = Means(count, engine.ask, rank, progress)
    return lambda overlong: one.shorten(overlong, means)


def rows(engine: Engine, rank: Rank, *, summaries: bool) -> dict[str, Shorten]:
    """Return the strategies, with `summaries` or without, and the simple baselines."""
    strategies: list[Strategy] = [Retrieval(), SlidingWindow()]
    if summaries:
        strategies.append(HierarchicalSummary())
    baselines: dict[str, Shorten] = {
        "truncate-head": keep_head,
        "truncate-tail": keep_tail,
        "compress": compressor(rank),
    }
    return {one.name: strategy(one, engine, rank) for one in strategies} | baselines


async def measure(
    model: Path, records: Sequence[dict[str, Any]], rank: Rank, each: int, *, summaries: bool
) -> dict[str, list[Result]]:
    """Return the results of each strategy, in the order in which the questions were asked."""
    options = EngineOptions(
        model=str(model), model_name="model", port=0, max_context=WINDOW, kv_memory_mb=1536, speculation="off"
    )
    async with _running(options) as engine:
        asked = cases(records, await _document_chars(engine, records), each)
        results: dict[str, list[Result]] = {}
        for name, shorten in rows(engine, rank, summaries=summaries).items():
            results[name] = []
            for case in asked:
                results[name].append(await _one(engine, case, shorten))
                last = results[name][-1]
                _say(
                    f"  {name}, depth {case.depth}: {'found' if last.found else 'NOT found'}, "
                    f"{last.spent.calls} calls, {last.spent.seconds:.1f} s"
                )
    return results


async def measure_yarn(
    model: Path, records: Sequence[dict[str, Any]], depths: Sequence[int]
) -> dict[str, list[Result]]:
    """Return the results of the engine that reads all of the document, a question at each of some depths."""
    options = EngineOptions(
        model=str(model),
        model_name="model",
        port=0,
        yarn_factor=YARN_FACTOR,
        kv_memory_mb=1536,
        speculation="off",
    )

    async def whole(overlong: Overlong) -> str:
        return overlong.text

    async with _running(options) as engine:
        asked = cases(records, await _document_chars(engine, records), 1)
        results = []
        # From the end: documents that differ late share most of what was read.
        for case in sorted(asked, key=lambda case: -case.depth):
            if case.depth in depths:
                results.append(await _one(engine, case, whole))
                _say(f"  yarn, depth {case.depth}: {results[-1].spent.seconds:.1f} s")
    return {"yarn": results}


async def _one(engine: Engine, case: Asked, shorten: Shorten) -> Result:
    engine.spent = Spent()
    begun = time.perf_counter()
    overlong = Overlong(
        case.text, case.needle.question, WINDOW - FRAME_TOKENS - ANSWER_TOKENS, WINDOW - FRAME_TOKENS - 320
    )
    try:
        text = await shorten(overlong)
    except CannotShorten as error:
        _say(f"    {error}")
        text = ""
    answer = await engine.ask(f"{INSTRUCTION}\n\n{text}\n\nQuestion: {case.needle.question}", ANSWER_TOKENS)
    engine.spent.seconds = time.perf_counter() - begun
    return Result(
        case.depth,
        " ".join(case.needle.fact.split()) in " ".join(text.split()),
        case.needle.answer.lower() in answer.lower(),
        engine.spent,
    )


@contextlib.asynccontextmanager
async def _running(options: EngineOptions) -> AsyncIterator[Engine]:
    process = await launch(options)
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(process.url, timeout=timeout) as http:
            yield Engine(http)
    finally:
        await process.stop()


async def _document_chars(engine: Engine, records: Sequence[dict[str, Any]]) -> int:
    sample = cases(records, SAMPLE_CHARS, 1)[0].text
    return int(TOKENS * await engine.chars_per_token(sample))


def figures(results: Sequence[Result]) -> Figures:
    """Return what one strategy found by depth, and what it took."""
    found: Figures = {}
    for depth in DEPTHS:
        here = [result for result in results if result.depth == depth]
        if here:
            found[f"found_{depth}"] = round(statistics.fmean(one.found for one in here), 3)
            found[f"answered_{depth}"] = round(statistics.fmean(one.answered for one in here), 3)
    spent = [result.spent for result in results]
    found["found"] = round(statistics.fmean(one.found for one in results), 3)
    found["answered"] = round(statistics.fmean(one.answered for one in results), 3)
    found["questions"] = len(results)
    found["first_s"] = round(spent[0].seconds, 2)
    if len(spent) > 1:
        found["later_s"] = round(statistics.fmean(one.seconds for one in spent[1:]), 2)
    found["first_calls"] = spent[0].calls
    found["calls"] = round(statistics.fmean(one.calls for one in spent), 2)
    found["first_prompt_tokens"] = spent[0].prompt_tokens
    found["prompt_tokens"] = round(statistics.fmean(one.prompt_tokens for one in spent))
    found["first_cost_usd"] = round(spent[0].dollars, 5)
    found["cost_usd"] = round(statistics.fmean(one.dollars for one in spent), 5)
    return found


def published(results: dict[str, list[Result]]) -> tuple[Figures, dict[str, Figures]]:
    """Return the strategies' figures under their names, and those of the peers."""
    ours: Figures = {}
    peers: dict[str, Figures] = {}
    for name, of_name in results.items():
        if name in OURS:
            ours |= {f"{name}_{key}": value for key, value in figures(of_name).items()}
        else:
            peers[name] = figures(of_name)
    # A model that reads all of the document: what it would cost, and nothing that was measured.
    whole = Spent(1, TOKENS, ANSWER_TOKENS)
    peers["larger-window"] = {"calls": 1, "prompt_tokens": TOKENS, "cost_usd": round(whole.dollars, 5)}
    return ours, peers


def ratios(ours: Figures, peers: dict[str, dict[str, Figures]]) -> dict[str, Figures]:
    """Return how many times better each strategy is than each peer: what it found, and what it cost."""
    found: dict[str, Figures] = {}
    for peer, sets in peers.items():
        theirs = sets.get("overlong", {})
        for name in OURS:
            for key, better in (("found", 1), ("cost_usd", -1)):
                one, other = ours.get(f"{name}_{key}"), theirs.get(key)
                if one and other:
                    found.setdefault(peer, {})[f"{name}_{key}"] = round((one / other) ** better, 3)
    return found


def table(results: dict[str, list[Result]]) -> str:
    """Return the figures as a table, strategies by depth."""
    columns = [
        *(f"found_{depth}" for depth in DEPTHS),
        "answered",
        "first_s",
        "later_s",
        "first_calls",
        "calls",
        "prompt_tokens",
        "cost_usd",
    ]
    lines = [f"{'':<15}" + "".join(f"{column:>15}" for column in columns)]
    for name, of_name in results.items():
        values = figures(of_name)
        lines.append(f"{name:<15}" + "".join(f"{values.get(column, '-'):>15}" for column in columns))
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
