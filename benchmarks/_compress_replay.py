"""Whether mode `auto` compresses where it pays: a mix of requests, replayed before a mix of upstreams.

The requests' compression is real, and so are its times (measured once for each prompt and mode, ranking by
the semantic process included). The gate is the gateway's own. The upstreams are simulated from the parameters
that stand in UPSTREAMS: their times and the lengths of answers are drawn with noise, and the gate sees those
draws. What a choice costs is counted without noise: the money, and all waiting (compressing, the first token,
the rest of the answer) at the price of an hour that the gate assumes.

`off` never changes a prompt. `always` is mode `auto` without its gate. `oracle` takes for each conversation
whichever of the gate's two choices costs less, knowing all parameters. `auto` and `auto-warm` are the gate
from a cold start, and on the same conversations under other names after that.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks._compress_data import Case, key_value, multi_document
from gateway.compression.compress import MIN_CHARS, compress
from gateway.compression.economics import USD_PER_HOUR, Economics
from gateway.compression.gate import Gate
from gateway.compression.mode import AUTO, LOSSLESS, Mode
from gateway.compression.outcome import BYTES_PER_TOKEN
from gateway.compression.prompt import read_messages
from gateway.compression.remembered import Remembered, digest, remembering
from gateway.compression.select import Rank
from gateway.config.schema import Model, Price
from gateway.cost import cost_usd
from gateway.exchange import Call
from gateway.wire.usage import PromptDetails, Usage

DOCUMENTS, LOOK_UPS, AGENTS, CHATS, TALKS, TURNS = 60, 30, 30, 40, 25, 4
"""Conversations of each kind; talks are documents with a question each, one turn after the other."""
NOISE_S, NOISE_TOKENS = 0.2, 0.5
"""Standard deviations of the logarithms of times and of answers' lengths."""
SEED = 20
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Simulated:
    """An upstream by its parameters."""

    name: str
    price: Price | None
    s_per_token: float
    """Of prefill."""
    s_per_answer_token: float
    first_s: float = 0.3
    """Before any prefill."""
    growth: float = 1.0
    """How many times longer an answer becomes if something was dropped from its prompt."""
    caches: bool = False
    """It has a conversation's earlier prompt in its cache."""


UPSTREAMS = (
    Simulated("dear", Price(input=5.0, output=15.0), 40e-6, 0.010),
    Simulated("cheap", Price(input=0.1, output=0.4), 25e-6, 0.008),
    Simulated("slow", None, 1500e-6, 0.030, first_s=0.05),
    Simulated("cached", Price(input=2.5, output=10.0, cache_read=0.25), 60e-6, 0.012, caches=True),
    Simulated("answers-grow", Price(input=2.0, output=12.0), 40e-6, 0.010, growth=4.0),
    Simulated("nothing-gained", None, 5e-6, 0.005),
)


@dataclass(frozen=True, slots=True)
class Made:
    """A prompt of some mode: its estimated tokens, and the seconds it took to make."""

    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One request."""

    raw: Made
    lossless: Made
    dropped: Made
    eligible: int
    """Tokens that the gate is asked about; 0 if it is not asked."""
    answer: float
    """Tokens of the usual answer."""

    def of(self, drops: bool) -> Made:
        """Return what becomes of the prompt by a decision of the gate."""
        return self.dropped if drops and self.eligible else self.lossless


@dataclass(frozen=True, slots=True)
class Conversation:
    """Requests of which each repeats the one before."""

    name: str
    turns: Sequence[Turn]


async def replayed(
    documents: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]], rank: Rank
) -> tuple[Figures, dict[str, Figures]]:
    """Return the figures of the gate, and those of its baselines."""
    conversations = await _conversations(documents, pairs, rank)
    figures: Figures = {"requests": sum(len(one.turns) for one in conversations) * len(UPSTREAMS)}
    totals: dict[str, float] = {}
    names = ("off", "always", "oracle", "auto", "auto-warm")
    shares: dict[str, list[float]] = {name: [] for name in names}
    worst: dict[str, float] = dict.fromkeys(names, -1.0)
    # One gate for all, as a worker has it: what compressing brings is learnt from all of them.
    economics = Economics()
    gate = Gate(economics)
    runs = _runs(conversations, economics, gate)
    for upstream in UPSTREAMS:
        costs = {name: runs[name][upstream.name] for name in names}
        possible = costs["off"] - costs["oracle"]
        line = [f"{upstream.name:<15}off ${costs['off']:.4f}"]
        for name in names:
            totals[name] = totals.get(name, 0.0) + costs[name]
            over = costs[name] / costs["off"] - 1
            worst[name] = max(worst[name], over)
            if possible > 0.02 * costs["off"]:
                shares[name].append((costs["off"] - costs[name]) / possible)
            line.append(f"{name} {over:+.1%}")
        print("  ".join(line))
        figures[f"{upstream.name}_cost_over_off"] = round(costs["auto"] / costs["off"] - 1, 4)
        figures[f"{upstream.name}_oracle_over_off"] = round(costs["oracle"] / costs["off"] - 1, 4)
    peers: dict[str, Figures] = {}
    for name in names:
        peers[name] = {
            "saved": round(1 - totals[name] / totals["off"], 4),
            "share_of_oracle": round((totals["off"] - totals[name]) / (totals["off"] - totals["oracle"]), 4),
            "worst_share_of_oracle": round(min(shares[name]), 4),
            "worst_cost_over_off": round(worst[name], 4),
        }
        print(f"{name:<10}", peers[name])
    return figures | peers.pop("auto"), peers


def _runs(
    conversations: Sequence[Conversation], economics: Economics, gate: Gate
) -> dict[str, dict[str, float]]:
    """Return what each way of deciding costs before each upstream."""
    fixed: dict[str, Callable[[Turn], Made]] = {
        "off": lambda turn: turn.raw,
        "always": lambda turn: turn.of(True),
    }
    runs: dict[str, dict[str, float]] = {}
    for name, choose in fixed.items():
        runs[name] = {
            upstream.name: sum(_cost(upstream, one, choose, grows=name == "always") for one in conversations)
            for upstream in UPSTREAMS
        }
    runs["oracle"] = {
        upstream.name: sum(
            min(
                _cost(upstream, one, lambda turn: turn.of(True), grows=True),
                _cost(upstream, one, lambda turn: turn.of(False), grows=False),
            )
            for one in conversations
        )
        for upstream in UPSTREAMS
    }
    for name in ("auto", "auto-warm"):
        runs[name] = _gated(name, conversations, economics, gate)
    return runs


def _gated(
    salt: str, conversations: Sequence[Conversation], economics: Economics, gate: Gate
) -> dict[str, float]:
    """Let the gate decide; conversations of all upstreams come mixed, in an order drawn at random."""
    draw = random.Random(f"{SEED} {salt}")
    order = [(upstream, one) for upstream in UPSTREAMS for one in conversations]
    draw.shuffle(order)
    costs = dict.fromkeys([upstream.name for upstream in UPSTREAMS], 0.0)
    for upstream, one in order:
        chosen: list[bool] = []
        before = 0
        for turn in one.turns:
            drops = turn.eligible > 0 and gate.drops(
                digest(salt, upstream.name, one.name), upstream.name, "model", upstream.price, turn.eligible
            )
            made = turn.of(drops)
            if drops:
                economics.compressed(turn.eligible, turn.raw.tokens - made.tokens, made.seconds)
            call = _call(draw, upstream, turn, made, before if upstream.caches else 0, drops=drops)
            economics.called(call, "model", compressed=drops if turn.eligible else None)
            chosen.append(drops)
            before = made.tokens
        costs[upstream.name] += _cost(upstream, one, _as_decided(iter(chosen)), grows=any(chosen))
    return costs


def _as_decided(picks: Iterator[bool]) -> Callable[[Turn], Made]:
    return lambda turn: turn.of(next(picks))


def _cost(
    upstream: Simulated, conversation: Conversation, choose: Callable[[Turn], Made], *, grows: bool
) -> float:
    """Return what a conversation costs on average: money, and waiting."""
    total, before = 0.0, 0
    for turn in conversation.turns:
        made = choose(turn)
        cached = min(before, made.tokens) if upstream.caches else 0
        answer = turn.answer * (upstream.growth if grows and turn.eligible else 1.0)
        seconds = made.seconds + upstream.first_s + (made.tokens - cached) * upstream.s_per_token
        seconds += answer * upstream.s_per_answer_token
        total += seconds * USD_PER_HOUR / 3600
        if upstream.price is not None:
            usage = Usage(made.tokens, round(answer), PromptDetails(cached))
            total += cost_usd(usage, upstream.price)
        before = made.tokens
    return total


def _call(
    draw: random.Random, upstream: Simulated, turn: Turn, made: Made, before: int, *, drops: bool
) -> Call:
    """Return a call as the gate sees it once it is over."""
    cached = min(before, made.tokens)
    usual = turn.answer * (upstream.growth if drops else 1.0)
    # The factor's mean is 1, so that draws and averages agree.
    answer = max(1, round(usual * math.exp(draw.gauss(-(NOISE_TOKENS**2) / 2, NOISE_TOKENS))))
    call = Call(upstream.name, "model", Model(upstream.name, price=upstream.price), started_s=1.0, status=200)
    prefill_s = upstream.first_s + (made.tokens - cached) * upstream.s_per_token
    first_s = 1.0 + prefill_s * math.exp(draw.gauss(-(NOISE_S**2) / 2, NOISE_S))
    call.outcome.first_chunk_s = first_s
    call.outcome.usage = Usage(made.tokens, answer, PromptDetails(cached))
    call.ended_s = first_s + answer * upstream.s_per_answer_token * math.exp(draw.gauss(0, NOISE_S))
    return call


async def _conversations(
    documents: Sequence[dict[str, Any]], pairs: Sequence[dict[str, Any]], rank: Rank
) -> list[Conversation]:
    """Return the mix, compressed for real."""
    draw = random.Random(SEED)
    cases = multi_document(documents)
    single = [
        *[("documents", case.prompt, 60.0) for case in cases[:DOCUMENTS]],
        *[("look-up", case.prompt, 40.0) for case in key_value(pairs)[:LOOK_UPS]],
        *[("chat", str(record["question"]), 200.0) for record in documents[:CHATS]],
    ]
    found = [
        Conversation(f"{kind} {number}", await _turns([[{"role": "user", "content": prompt}]], answer, rank))
        for number, (kind, prompt, answer) in enumerate(single)
    ]
    longer = [(f"talk {number}", _talk(cases, number), 80.0) for number in range(TALKS)]
    longer += [(f"agent {number}", _agent(draw), 150.0) for number in range(AGENTS)]
    return found + [
        Conversation(name, await _turns(prompts, answer, rank)) for name, prompts, answer in longer
    ]


def _talk(cases: Sequence[Case], number: int) -> list[list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []
    prompts = []
    for turn in range(TURNS):
        case = cases[(number * TURNS + turn) % len(cases)]
        messages = [*messages, {"role": "user", "content": case.prompt}]
        prompts.append(messages)
        messages = [*messages, {"role": "assistant", "content": case.answers[0]}]
    return prompts


def _agent(draw: random.Random) -> list[list[dict[str, Any]]]:
    """Return the turns of an agent that reads a log, a listing and records of JSON."""
    failing = draw.randrange(400)
    log = "\n".join(
        f"12:{line // 60:02}:{line % 60:02} worker {draw.randrange(8)} "
        + (
            f"ERROR request r{failing} failed: connection refused by store-{draw.randrange(4)}"
            if line == failing
            else f"handled request r{line} in {draw.randrange(900)} ms, {draw.randrange(64)} in the queue"
        )
        for line in range(400)
    )
    listing = "\n".join(
        f"-rw-r--r-- 1 app app {draw.randrange(10**6):>8} Mar {draw.randrange(1, 29):>2} part-{line:04}.bin"
        for line in range(260)
    )
    records = json.dumps(
        [
            {"id": number, "name": f"store-{number}", "load": draw.random(), "free": draw.randrange(10**9)}
            for number in range(60)
        ],
        indent=1,
    )
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You look after a service and find out why it fails."},
        {"role": "user", "content": f"Why did the request r{failing} fail, and which store is to blame?"},
    ]
    prompts = []
    for number, output in enumerate((log, listing, records)):
        called = {"id": f"c{number}", "type": "function", "function": {"name": "read", "arguments": "{}"}}
        messages = [
            *messages,
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": output},
        ]
        prompts.append(messages)
    return prompts


async def _turns(prompts: Sequence[list[dict[str, Any]]], answer: float, rank: Rank) -> list[Turn]:
    """Compress each turn of a conversation, with what a worker remembers from one to the next."""
    once = remembering(rank, Remembered(), "")
    turns = []
    for messages in prompts:
        body = json.dumps(messages).encode()
        texts = [text for one in read_messages(body, 0, len(body)) for text in one.texts]
        eligible = sum(text.end - text.start for text in texts if len(text.value) >= MIN_CHARS)
        raw = Made(len(body) // BYTES_PER_TOKEN, 0.0)
        lossless = await _made(body, LOSSLESS, None)
        dropped = await _made(body, AUTO, once) if eligible else lossless
        turns.append(Turn(raw, lossless, dropped, eligible // BYTES_PER_TOKEN, answer))
    return turns


async def _made(body: bytes, mode: Mode, rank: Rank | None) -> Made:
    begun = time.perf_counter()
    done = await compress(read_messages(body, 0, len(body)), mode, rank=rank)
    saved = sum(
        max(0, change.text.end - change.text.start - len(json.dumps(change.value).encode()))
        for change in done.changes
    )
    return Made((len(body) - saved) // BYTES_PER_TOKEN, time.perf_counter() - begun)
