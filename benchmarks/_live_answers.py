"""Asks the bundled engine the questions of the live cascade, one answer each, with token probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from backend_engine.launcher import EngineOptions, launch
from benchmarks._live_questions import Question, is_right
from router.after.logprobs import Token
from router.after.signs import SmallAnswer

MOST_TOKENS = 96
"""Of an answer; a small model that has not come to the point by then will not."""
CALLERS = 12
_TOLD_EVERY = 100


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, what the small model answered, and whether that is right."""

    question: Question
    said: SmallAnswer
    right: bool
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class LongAnswer:
    """An answer of some length, and the completion that it came in."""

    said: SmallAnswer
    body: bytes


EXPLAINED = (
    "a bicycle",
    "bread",
    "the moon",
    "a lighthouse",
    "the tides",
    "a compass",
    "rain",
    "a violin",
    "paper",
    "glass",
    "a bridge",
    "bees",
)
"""What the small model is asked to explain, for answers of some length."""
_LEAST_TOKENS = 110
_LONG_TOKENS = 300


class _Top(msgspec.Struct):
    logprob: float


class _Token(_Top):
    token: str
    top_logprobs: list[_Top]


class _Logprobs(msgspec.Struct):
    content: list[_Token]


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str
    logprobs: _Logprobs


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage


async def ask_engine(
    model: Path, questions: Sequence[Question], explained: Sequence[str] = ()
) -> tuple[list[Answered], list[LongAnswer]]:
    """Return the answers of an engine that runs for as long as this takes, and explanations."""
    engine = await launch(EngineOptions(model=str(model), model_name="small", port=0))
    try:
        async with aiohttp.ClientSession(engine.url) as http:
            answered = await ask_all(http, "small", questions)
            return answered, list(await asyncio.gather(*(_explain(http, thing) for thing in explained)))
    finally:
        await engine.stop()


async def ask_all(http: aiohttp.ClientSession, model: str, questions: Sequence[Question]) -> list[Answered]:
    """Return the answers to all questions, in their order."""
    found: dict[int, Answered] = {}
    numbers = iter(range(len(questions)))

    async def caller() -> None:
        for number in numbers:
            found[number] = await _ask(http, model, questions[number])
            if len(found) % _TOLD_EVERY == 0:
                print(f"{len(found)} of {len(questions)} answered", flush=True)

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return [found[number] for number in range(len(questions))]


def body_of(question: Question, model: str) -> dict[str, object]:
    """Return the request that asks a question."""
    messages = [{"role": "user", "content": question.text}]
    return {"model": model, "messages": messages, "max_tokens": MOST_TOKENS, "temperature": 0}


async def _ask(http: aiohttp.ClientSession, model: str, question: Question) -> Answered:
    return read_answer(question, await _complete(http, body_of(question, model)))


async def _explain(http: aiohttp.ClientSession, thing: str) -> LongAnswer:
    question = Question("long", thing, f"Explain in some sentences what {thing} is good for.", ("",), "words")
    body = body_of(question, "small") | {"min_tokens": _LEAST_TOKENS, "max_tokens": _LONG_TOKENS}
    got = await _complete(http, body)
    return LongAnswer(read_answer(question, got).said, got)


async def _complete(http: aiohttp.ClientSession, body: dict[str, object]) -> bytes:
    wanted = body | {"logprobs": True, "top_logprobs": 5}
    async with http.post("/v1/chat/completions", json=wanted) as response:
        got = await response.read()
        if response.status != 200:
            raise SystemExit(f"the small model answered {response.status}: {got[:300]!r}")
    return got


def read_answer(question: Question, body: bytes) -> Answered:
    """Return what a chat completion says. Raises msgspec.DecodeError."""
    reply = msgspec.json.decode(body, type=_Reply)
    choice = reply.choices[0]
    text = choice.message.content or ""
    tokens = [
        Token(token.logprob, tuple([top.logprob for top in token.top_logprobs]), token.token)
        for token in choice.logprobs.content
    ]
    said = SmallAnswer(question.text, text, choice.finish_reason, None, tokens)
    return Answered(
        question, said, is_right(question, text), reply.usage.prompt_tokens, reply.usage.completion_tokens
    )
