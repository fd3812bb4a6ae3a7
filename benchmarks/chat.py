"""A plain `openai` client against a running gateway: what a user feels.

    python -m benchmarks.chat [--base-url URL] [--model NAME] [--rounds N] [--json]

Streams one chat answer and prints it with its time to first token, total and tokens a second; then sends
a system prompt of about 650 tokens twice, with different questions, and compares the two times to first
token: the second finds the system prompt in the prefix cache. Each round salts the system prompt, so that
its first request is cold. The baseline is the same request against a cold cache.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Annotated

import cyclopts
from openai import OpenAI

from benchmarks import report

QUESTION = "What is a forebay, in two sentences?"
SECOND_QUESTIONS = ("Which day is the depot closed?", "Who signs for a damaged crate?")
# About 200 tokens with the chat template round it.
PROMPT_200 = "Summarise this note. " + " ".join(
    f"On day {day} the crew of lock {day + 3} raised the gate by {day * 2} centimetres and wrote it down."
    for day in range(1, 8)
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One streamed answer as its client saw it; times in seconds."""

    text: str
    first_token_s: float
    total_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int

    @property
    def tokens_per_s(self) -> float:
        """Tokens after the first, over the time after the first."""
        return (self.completion_tokens - 1) / max(self.total_s - self.first_token_s, 1e-9)


def ask(client: OpenAI, model: str, system: str, question: str, max_tokens: int, *, show: bool) -> Answer:
    """Stream one answer, printing it as it comes if `show`."""
    begun = time.perf_counter()
    first = 0.0
    pieces = []
    usage = None
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": system}, {"role": "user", "content": question}],
        max_tokens=max_tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        # What is measured is the model, not the answer cache.
        extra_headers={"cache-control": "no-cache"},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.perf_counter()
            pieces.append(chunk.choices[0].delta.content)
            if show:
                sys.stdout.write(pieces[-1])
                sys.stdout.flush()
    ended = time.perf_counter()
    if usage is None:
        raise SystemExit("the stream ended without usage")
    details = usage.prompt_tokens_details
    return Answer(
        text="".join(pieces),
        first_token_s=(first or ended) - begun,
        total_s=ended - begun,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=(details.cached_tokens or 0) if details else 0,
        completion_tokens=usage.completion_tokens,
    )


def long_system_prompt() -> str:
    """Return about 650 tokens of house rules that begin differently every time."""
    rules = (
        f"Rule {n}: crates of type {n} stand in aisle {n % 7}, are counted on {day} with form {n * 3}."
        for n, day in enumerate((["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"] * 5)[:23], start=1)
    )
    return f"House rules, edition {secrets.token_hex(4)}. " + " ".join(rules)


def bench(
    *,
    base_url: str = "http://127.0.0.1:8080/v1",
    model: str = "smollm2",
    rounds: int = 5,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Stream a chat, then measure what the prefix cache saves.

    Parameters
    ----------
    base_url: the gateway's (or any OpenAI-compatible server's) base URL.
    model: model to ask.
    rounds: times that each measurement is repeated; medians are printed.
    json_: print one JSON object as the last line.
    """
    machine = report.machine()
    client = OpenAI(base_url=base_url, api_key="unused", max_retries=0)
    answer = ask(client, model, "You are brief.", QUESTION, 96, show=True)
    print(
        f"\n\n{answer.completion_tokens} tokens: first after {answer.first_token_s * 1000:.0f} ms, "
        f"total {answer.total_s:.2f} s, {answer.tokens_per_s:.1f} tokens/s"
    )

    cold, warm, short = [], [], []
    for _ in range(rounds):
        system = long_system_prompt()
        cold.append(ask(client, model, system, SECOND_QUESTIONS[0], 8, show=False))
        warm.append(ask(client, model, system, SECOND_QUESTIONS[1], 8, show=False))
        unique = f"Edition {secrets.token_hex(4)}."
        short.append(ask(client, model, unique, PROMPT_200, 64, show=False))

    def median_ms(answers: list[Answer]) -> float:
        return round(statistics.median(a.first_token_s for a in answers) * 1000, 1)

    figures = {
        "prompt_tokens": short[0].prompt_tokens,
        "first_token_ms": median_ms(short),
        "tokens_per_s": round(statistics.median(a.tokens_per_s for a in short), 1),
        "system_prompt_tokens": warm[0].prompt_tokens,
        "cached_tokens": warm[0].cached_tokens,
        "system_prompt_first_token_ms": median_ms(warm),
    }
    peers = {"cold-cache": {"system_prompt_first_token_ms": median_ms(cold)}}
    ratios = report.ratios(figures, peers, higher_is_better=set())
    report.publish("chat", machine, figures, peers, ratios, as_json=json_)


if __name__ == "__main__":
    cyclopts.run(bench)
