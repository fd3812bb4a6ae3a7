"""What a shorter prompt is worth before the bundled engine: time to the first token, and right answers.

Streams over HTTP, one at a time, nothing cached and no drafts. The time of a compressed prompt is that of
compressing it and of waiting for the first token.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from backend_engine.launcher import EngineOptions, launch
from benchmarks._compress_data import Case

TOKENS = (2000, 4000, 8000)
PROMPTS = 2
"""Prompts of each length."""
ANSWER_TOKENS = 32
CHARS_PER_TOKEN = 4
Figures = dict[str, Any]
Shorten = Callable[[Case], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and the seconds until it began."""

    text: str
    first_s: float


async def measure(
    model: Path, cases: Sequence[Case], shorten: Shorten, answers: int
) -> tuple[Figures, Figures]:
    """Return figures of shortened prompts and of whole ones; `answers` is how many questions are answered."""
    options = EngineOptions(
        model=str(model), model_name="model", port=0, prefix_cache=False, speculation="off", kv_memory_mb=1024
    )
    engine = await launch(options)
    ours: Figures = {}
    whole: Figures = {}
    try:
        async with aiohttp.ClientSession(engine.url) as http:
            await _ask(http, "Hello", 1)
            for tokens in TOKENS:
                times: list[tuple[float, float]] = []
                for first in range(PROMPTS):
                    case = _long(cases[first:], tokens)
                    begun = time.perf_counter()
                    smaller = await shorten(case)
                    spent = time.perf_counter() - begun
                    after = await _ask(http, smaller, 1)
                    times.append((spent + after.first_s, (await _ask(http, case.prompt, 1)).first_s))
                name = f"ttft_{tokens // 1000}k_ms"
                ours[name] = round(1000 * statistics.fmean(one for one, _ in times), 1)
                whole[name] = round(1000 * statistics.fmean(other for _, other in times), 1)
            right: list[tuple[bool, bool]] = []
            for case in cases[:answers]:
                replies = [
                    await _ask(http, text, ANSWER_TOKENS) for text in (await shorten(case), case.prompt)
                ]
                one, other = (_is_right(case, reply.text) for reply in replies)
                right.append((one, other))
            ours["answers_right"] = round(statistics.fmean(one for one, _ in right), 4)
            whole["answers_right"] = round(statistics.fmean(other for _, other in right), 4)
    finally:
        await engine.stop()
    return ours, whole


def _long(cases: Sequence[Case], tokens: int) -> Case:
    """Return the first question over so many documents that they make `tokens` tokens."""
    first = cases[0]
    documents = [first.documents]
    size = len(first.prompt)
    for other in cases[1:]:
        if size + len(other.documents) > tokens * CHARS_PER_TOKEN:
            break
        documents.append(other.documents)
        size += len(other.documents) + 2
    return Case(first.instruction, "\n\n".join(documents), first.question, first.answers)


def _is_right(case: Case, text: str) -> bool:
    return any(answer.lower() in text.lower() for answer in case.answers)


async def _ask(http: aiohttp.ClientSession, prompt: str, tokens: int) -> Reply:
    body = {
        "model": "model",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
    }
    text: list[str] = []
    first_s = 0.0
    begun = time.perf_counter()
    async with http.post("/v1/chat/completions", json=body) as response:
        if response.status != 200:
            raise SystemExit(f"the engine answered {response.status}: {await response.text()}")
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            choices = json.loads(line[6:])["choices"]
            if choices and (piece := choices[0]["delta"].get("content")):
                first_s = first_s or time.perf_counter() - begun
                text.append(piece)
    return Reply("".join(text), first_s)
