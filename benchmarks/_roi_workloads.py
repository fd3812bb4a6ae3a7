"""The traffic of the `roi` benchmark, made from parts: what is asked, in which order, and what is right.

Threads run beside one another, each by one caller, and the requests of a thread after one another.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmarks._made_questions import question_pairs
from benchmarks.peers.mock_paid import CHARS_PER_TOKEN, key_of

Message = dict[str, Any]
_SYSTEM_TOKENS = 1000
_ANSWER_TOKENS = 150
_SUM_TOKENS = 32
_APART = 20


@dataclass(frozen=True, slots=True)
class Ask:
    """One request and the message that answers it."""

    messages: list[Message]
    right: Message
    tools: list[dict[str, Any]] | None = None
    most_tokens: int | None = None

    def body(self, model: str) -> dict[str, Any]:
        """Return the request for a model."""
        return {
            "model": model,
            "messages": self.messages,
            **({"tools": self.tools} if self.tools is not None else {}),
            **({"max_tokens": self.most_tokens} if self.most_tokens is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of traffic."""

    name: str
    threads: list[list[Ask]]
    callers: int
    about: str
    asks: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "asks", sum(map(len, self.threads)))

    def table(self) -> dict[str, Message]:
        """Return what the mock answers by."""
        return {key_of(ask.messages): ask.right for thread in self.threads for ask in thread}


def classic(requests: int, seed: int = 1) -> Workload:
    """Return questions under one system prompt of 1,000 tokens, nine of ten of which were asked before: not
    just now, so that they are hits and do not join a call under way."""
    chance = Random(seed)
    system = {"role": "system", "content": _text("the shop's rules", _SYSTEM_TOKENS)}
    order = _repeated(chance, question_pairs(requests // 10, seed), requests, apart=_APART)
    threads = [
        [Ask([system, {"role": "user", "content": first}], _answer(first, _ANSWER_TOKENS))]
        for (first, _), _ in order
    ]
    return Workload("classic", threads, 12, "one system prompt of 1,000 tokens, 90% answered before")


def reworded(requests: int, seed: int = 7) -> Workload:
    """Return questions of which four of five were asked before: half of the repeats as someone else would
    type them, a quarter in other words altogether, a quarter to the letter."""
    chance = Random(seed)
    system = {"role": "system", "content": _text("the shop's other rules", 250)}
    threads = []
    for (first, second), repeat in _repeated(chance, question_pairs(requests // 5, seed), requests):
        kind = chance.random() if repeat else 1.0
        asked = chance.choice(_LIGHT)(first) if kind < 0.5 else second if kind < 0.75 else first
        messages = [system, {"role": "user", "content": asked}]
        threads.append([Ask(messages, _answer(first, _ANSWER_TOKENS))])
    return Workload("reworded", threads, 12, "80% repeats: half retyped, a quarter in other words")


_LIGHT = (
    lambda question: f"Please tell me: {_small(question)}",
    lambda question: f"Hi, {_small(question)}",
    lambda question: f"{question} Thanks!",
    lambda question: question[:-1].lower(),
    lambda question: f"I would like to know: {_small(question)}",
)


def _small(question: str) -> str:
    return question[0].lower() + question[1:]


def _repeated(
    chance: Random, pairs: Sequence[tuple[str, str]], requests: int, apart: int = 1
) -> Iterator[tuple[tuple[str, str], bool]]:
    """Yield so many questions, and whether they were there before; each one's first time comes somewhere
    among the others' repeats, which come `apart` requests later at the earliest."""
    apart = min(apart, len(pairs))
    firsts = set(range(apart)) | set(chance.sample(range(apart, requests), len(pairs) - apart))
    new, asked = iter(pairs), list[tuple[int, tuple[str, str]]]()
    for place in range(requests):
        if place in firsts:
            asked.append((place, next(new)))
            yield asked[-1][1], False
        else:
            yield chance.choice([pair for then, pair in asked if then + apart <= place]), True


def chat(conversations: int, seed: int = 2) -> Workload:
    """Return conversations that grow by a question and an answer a turn; a third of them begin alike."""
    chance = Random(seed)
    pairs = iter(question_pairs(6 * conversations + 3, seed))
    starters = [next(pairs)[0] for _ in range(3)]
    system = {"role": "system", "content": _text("a friendly assistant's manners", 250)}
    threads = []
    for _ in range(conversations):
        messages, thread = [system], []
        for turn in range(5):
            asked = chance.choice(starters) if turn == 0 and chance.random() < 1 / 3 else next(pairs)[0]
            messages = [*messages, {"role": "user", "content": asked}]
            right = _answer(f"{turn} {asked}", _ANSWER_TOKENS)
            thread.append(Ask(messages, right))
            messages = [*messages, {"role": "assistant", **right}]
        threads.append(thread)
    return Workload("chat", threads, 8, "conversations of five turns, a third with the same opening")


def agent(tasks: int, seed: int = 3) -> Workload:
    """Return tasks of four steps with tools that answer in JSON; a quarter of them are earlier ones that are
    run again."""
    chance = Random(seed)
    again = tasks // 4
    pairs = question_pairs(tasks - again, seed)
    system = {"role": "system", "content": _text("how to use the tools", 300)}
    tools = [_tool(name) for name in ("find_orders", "read_stock", "list_prices")]
    threads: list[list[Ask]] = []
    for number, (task, _) in enumerate(pairs):
        messages, thread = [system, {"role": "user", "content": task}], []
        for step, tool in enumerate(tools):
            call = {"id": f"call_{number}_{step}", "type": "function"}
            arguments = json.dumps({"query": task, "page": step})
            function = {"name": tool["function"]["name"], "arguments": arguments}
            right: Message = {"content": None, "tool_calls": [{**call, "function": function}]}
            thread.append(Ask(messages, right, tools))
            found = json.dumps(_rows(chance, 30), indent=2)
            said = {"role": "tool", "tool_call_id": call["id"], "content": found}
            messages = [*messages, {"role": "assistant", **right}, said]
        thread.append(Ask(messages, _answer(task, _ANSWER_TOKENS), tools))
        threads.append(thread)
    threads += chance.sample(threads, again)
    return Workload("agent", threads, 8, "tasks of four steps with tools, a quarter of them run again")


def unique(requests: int, seed: int = 4) -> Workload:
    """Return requests of which none was ever made before, nor anything like it."""
    system = {"role": "system", "content": _text("a helpful assistant's rules", 250)}
    threads = []
    for number, (question, _) in enumerate(question_pairs(requests, seed)):
        text = f"{question} {_text(f'{seed} {number}', 100)}"
        threads.append([Ask([system, {"role": "user", "content": text}], _answer(text, _ANSWER_TOKENS))])
    return Workload("unique", threads, 4, "nothing is ever asked twice")


def sums(requests: int, seed: int = 5, name: str = "cascade") -> Workload:
    """Return sums, some of which a small model gets right; each once, whichever way round."""
    chance = Random(seed)
    seen: set[tuple[str, ...]] = set()
    threads = []
    for question, right in _sums(chance):
        one, sign, other = right.split()[:3]
        if (sum_ := (sign, *sorted((one, other)))) in seen:
            continue
        seen.add(sum_)
        messages = [*SHOTS, {"role": "user", "content": question}]
        threads.append([Ask(messages, {"content": right}, most_tokens=_SUM_TOKENS)])
        if len(threads) == requests:
            break
    return Workload(name, threads, 8, "sums; a route asks the small model first")


SHOTS: list[Message] = [
    {"role": "system", "content": "You are a calculator. Reply with the sum and its result only."},
    {"role": "user", "content": "What is 3 + 4?"},
    {"role": "assistant", "content": "3 + 4 = 7"},
    {"role": "user", "content": "What is 12 + 9?"},
    {"role": "assistant", "content": "12 + 9 = 21"},
    {"role": "user", "content": "What is 6 * 5?"},
    {"role": "assistant", "content": "6 * 5 = 30"},
]


def _sums(chance: Random) -> Iterator[tuple[str, str]]:
    for kind in itertools.cycle("+++**x"):
        if kind == "+":
            one, other = chance.randrange(2, 40), chance.randrange(2, 40)
        elif kind == "*":
            one, other = chance.randrange(2, 13), chance.randrange(2, 13)
        else:
            one, other = chance.randrange(100, 900), chance.randrange(12, 99)
        sign = "+" if kind == "+" else "*"
        result = one + other if kind == "+" else one * other
        yield f"What is {one} {sign} {other}?", f"{one} {sign} {other} = {result}"


def _tool(name: str) -> dict[str, Any]:
    properties = {
        part: {"type": kind, "description": _text(f"{name} {part}", 20)}
        for part, kind in (("query", "string"), ("page", "integer"), ("limit", "integer"))
    }
    parameters = {"type": "object", "properties": properties, "required": ["query"]}
    function = {"name": name, "description": _text(name, 40), "parameters": parameters}
    return {"type": "function", "function": function}


def _rows(chance: Random, count: int) -> list[dict[str, Any]]:
    return [
        {
            "order_id": f"ord-{chance.randrange(10**8):08d}",
            "customer": {"name": f"{chance.choice(_WORDS)} Ltd", "country": chance.choice(_COUNTRIES)},
            "status": chance.choice(["shipped", "open", "returned"]),
            "total": round(chance.uniform(5, 900), 2),
            "note": None,
        }
        for _ in range(count)
    ]


def _listed(text: str) -> list[str]:
    return text.split()


_COUNTRIES = ("Norway", "Chile", "Kenya", "Japan", "Portugal")
_WORDS = _listed("""
river stone harvest lantern market garden copper winter bridge harbour paper orchard signal meadow window
engine valley thread basket compass ladder island mirror hollow needle barley timber ferry
""")


def _text(seed: str, tokens: int) -> str:
    """Return sentences that nothing else has, of so many tokens."""
    chance = Random(hashlib.sha256(seed.encode()).digest())
    size, parts = tokens * CHARS_PER_TOKEN, list[str]()
    length = 0
    while length < size:
        sentence = " ".join(chance.choices(_WORDS, k=9)).capitalize() + "."
        parts.append(sentence)
        length += len(sentence) + 1
    return " ".join(parts)[:size]


def _answer(seed: str, tokens: int) -> Message:
    return {"content": _text(f"answer to {seed}", tokens)}


def all_workloads(size: float) -> Sequence[Workload]:
    """Return every kind of traffic but the cascade's, `size` times as much as usual."""
    return [
        classic(round(300 * size)),
        reworded(round(120 * size)),
        chat(round(12 * size)),
        agent(round(16 * size)),
        unique(round(48 * size)),
    ]
