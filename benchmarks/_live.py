"""The cascade on the default stack, live: `forebay serve` with the bundled engine and a large model.

The engine answers made-up questions whose answers can be checked; from the first half of them a policy is
learned. A gateway then serves the route `auto` over the small model and a mock of a large one that is right
about all but a few questions, and is asked the other half over HTTP, every second one as a stream. Each
answer is checked, and costs are compared with the records, with what the mock was asked, and with the prices.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np

from benchmarks._live_answers import CALLERS, EXPLAINED, Answered, ask_all, ask_engine, body_of
from benchmarks._live_overhead import overhead
from benchmarks._live_questions import UNSEEN, Question, is_right, questions
from benchmarks._live_scores import baselines, calibrated, scored
from benchmarks.peers import gateways, mock_large, mock_openai
from benchmarks.peers.gateways import Bench, Running
from benchmarks.report import Figures
from router.after.confidence import Confidence
from router.after.signs import AnswerSigns, signs_of
from router.fit.answers import fit_confidence
from router.fit.knobs import for_quality, probabilities
from router.fit.prior import PENALTY, by_kind
from router.fit.signal import measure
from router.policy.escalation import ALL_LARGE, FARTHEST, escalate_share
from router.policy.learned import Learned, save
from router.prior import load_prior

QUALITY = 0.95
SMALL, LARGE, ROUTE = "smollm2", "large", "auto"
_SMALL_PRICE = {"input": 0.02, "output": 0.04}
_LARGE_PRICE = {"input": 2.5, "output": 10.0}


class BadRun(Exception):
    """The gateway did not do what it says; the message says where."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked: most questions of a kind, and how many of the second half go through the route."""

    past: int = 20
    rest: int = 11
    live: int = 160


@dataclass(frozen=True, slots=True)
class Served:
    """One answer of the route."""

    question: Question
    right: bool
    route: str
    cost_usd: float | None
    """As the header says it, or the report at the end of a stream; None where a small model's stream was
    broken off, since nobody knows then what it would have counted."""
    recorded_usd: float | None
    cache: str
    ms: float


def measure_live(
    model: Path, large_accuracy: float = 0.97, size: Size = Size()
) -> tuple[Figures, dict[str, Figures]]:
    """Return our figures and those of simple scores. Raises BadRun, PeerUnavailable."""
    begun = time.monotonic()
    past_asked, rest_asked = questions("past", size.past), questions("rest", size.rest)
    _say(f"live: the small model answers {len(past_asked)} questions to learn from")
    past, long = asyncio.run(ask_engine(model, past_asked, EXPLAINED))
    table = large_answers([*past_asked, *rest_asked], large_accuracy)
    learned, confidence = learn(past, table)
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as name:
        rest, served, counted = serve(
            Path(name), table, learned, bundled(model), rest_asked, rest_asked[: size.live]
        )
    found, peers = confidence_figures(past, rest, confidence, table)
    found |= served_figures(served, rest, table)
    found |= costs(served, rest, table, counted)
    found["overhead"] = overhead(learned, long)
    found["policy"] = list(learned.said)
    found["questions"] = {"learned_from": len(past), "judged": len(rest), "served": len(served)}
    found["seconds"] = round(time.monotonic() - begun, 1)
    return found, peers


def show(found: Figures, peers: dict[str, Figures]) -> None:
    """Print the figures as a table."""
    print(f"\nlive: {found['questions']}, in {found['seconds']} s")
    columns = ("auroc", "strong_calls_at_95", "calls_saved_at_95")
    print(f"{'':<16}" + "".join(f"{column:>20}" for column in columns))
    rows = {"ours": found, "shipped prior": found["prior"], "ours, seen kinds": found["seen_kinds"]}
    for name, row in {**rows, "ours, new kinds": found["unseen_kinds"], **peers}.items():
        print(f"{name:<16}" + "".join(f"{row[column]:>20}" for column in columns))
    for name in ("calibration_error", "small_accuracy", "large_accuracy", "broken"):
        print(f"{name}: {found[name]}")
    for name in ("served_accuracy", "small_alone", "large_alone", "realised_quality", "strong_call_share"):
        print(f"over HTTP, {name}: {found[name]}")
    for name in ("routes", "cache", "latency_ms", "cost_usd", "overhead"):
        print(f"{name}: {found[name]}")


def large_answers(asked: Sequence[Question], accuracy: float) -> dict[str, str]:
    """Return the large model's answers: wrong for a fixed share of the questions, by a hash of their text."""
    table = {}
    for question in asked:
        place = int.from_bytes(hashlib.sha256(question.text.encode()).digest()[:6], "big") / 2**48
        right = f"'{question.right[0]}'" if question.check == "letter" else question.right[0]
        table[question.text] = f"It is {right}." if place < accuracy else "That is not known."
    return table


def learn(past: Sequence[Answered], table: dict[str, str]) -> tuple[Learned, Confidence]:
    """Return the policy of the first half, calibrated on kinds that had not been seen."""
    parts = by_kind([answer.question.kind for answer in past])
    signs = [signs_of(answer.said) for answer in past]
    weak = np.array([answer.right for answer in past])
    strong = np.array([is_right(answer.question, table[answer.question.text]) for answer in past])
    confidence, unseen = fit_confidence(signs, weak.tolist(), parts, PENALTY)
    signal = measure(-unseen, np.subtract(strong, weak, dtype=float), [np.arange(len(past))])
    escalation = for_quality(-unseen, weak, strong, QUALITY, trust=signal.trust)
    if escalation != ALL_LARGE:
        own = [-score(confidence, sign) for sign in signs]
        escalation = escalate_share(own, float(probabilities(escalation, -unseen).mean()))
    said = (signal.said("the small model's answer"),)
    return Learned(QUALITY, len(past), "answer", escalation, None, confidence, said), confidence


def score(confidence: Confidence, signs: AnswerSigns) -> float:
    """Return how sure an answer looks, uncalibrated: what thresholds are set on."""
    return -FARTHEST if signs.broken is not None else confidence.model.score(signs.values)


def confidence_figures(
    past: Sequence[Answered], rest: Sequence[Answered], confidence: Confidence, table: dict[str, str]
) -> tuple[Figures, dict[str, Figures]]:
    """Return what confidence tells of answers that it has not learned from, and what simple scores do."""
    small = np.array([answer.right for answer in rest])
    large = np.array([is_right(answer.question, table[answer.question.text]) for answer in rest])
    signs = [signs_of(answer.said) for answer in rest]
    judged = np.array([confidence.judge(sign).probability for sign in signs])
    prior = np.array([load_prior().confidence.judge(sign).probability for sign in signs])
    unseen = np.array([answer.question.kind in UNSEEN for answer in rest])
    found: Figures = scored(judged, small, large)
    found["calibration_error"] = calibrated(judged, small)
    for name, rows in (("seen_kinds", ~unseen), ("unseen_kinds", unseen)):
        found[name] = scored(judged[rows], small[rows], large[rows]) | {
            "small_accuracy": round(float(small[rows].mean()), 4)
        }
    found["prior"] = scored(prior, small, large) | {"calibration_error": calibrated(prior, small)}
    found["small_accuracy"] = round(float(small.mean()), 4)
    found["large_accuracy"] = round(float(large.mean()), 4)
    found["broken"] = round(float(np.mean([sign.broken is not None for sign in signs])), 4)
    peers = {name: scored(sureness, small, large) for name, sureness in baselines(past, rest).items()}
    found["auroc_over_length"] = round(found["auroc"] - peers["length"]["auroc"], 4)
    return found, peers


def served_figures(served: Sequence[Served], rest: Sequence[Answered], table: dict[str, str]) -> Figures:
    """Return what came of the route over HTTP."""
    small = {answer.question.text: answer.right for answer in rest}
    asked = [one.question for one in served]
    large = [is_right(question, table[question.text]) for question in asked]
    out: Figures = {
        "asked_quality": QUALITY,
        "served_accuracy": round(statistics.fmean(one.right for one in served), 4),
        "small_alone": round(statistics.fmean(small[question.text] for question in asked), 4),
        "large_alone": round(statistics.fmean(large), 4),
        "strong_call_share": round(statistics.fmean(LARGE in one.route.split(">") for one in served), 4),
        "routes": {
            route: sum(one.route == route for one in served) for route in sorted({s.route for s in served})
        },
        "cache": {
            said: sum(one.cache == said for one in served) for said in sorted({s.cache for s in served})
        },
    }
    out["realised_quality"] = round(out["served_accuracy"] / out["large_alone"], 4)
    out["latency_ms"] = {
        route: round(statistics.median(one.ms for one in served if one.route == route), 1)
        for route in out["routes"]
    }
    return out


def costs(
    served: Sequence[Served], rest: Sequence[Answered], table: dict[str, str], counted: mock_large.Count
) -> Figures:
    """Return the sums of all costs. Raises BadRun if any is not what tokens and prices make it."""
    small = {answer.question.text: answer for answer in rest}
    said = recorded = due = 0.0
    unknown = calls = 0
    for one in served:
        text, cost = one.question.text, 0.0
        if SMALL in one.route.split(">"):
            answer = small[text]
            cost += _price(answer.input_tokens, answer.output_tokens, _SMALL_PRICE)
        if LARGE in one.route.split(">"):
            calls += 1
            usage = mock_large.usage_of(text, table[text])
            cost += _price(usage["prompt_tokens"], usage["completion_tokens"], _LARGE_PRICE)
        if one.cost_usd is None or one.recorded_usd is None:
            unknown += 1
            continue
        if abs(one.cost_usd - cost) > 1e-9 or abs(one.recorded_usd - cost) > 1e-9:
            raise BadRun(
                f"{text!r} by {one.route} is due ${cost:.9f}; the answer says ${one.cost_usd:.9f} "
                f"and the record ${one.recorded_usd:.9f}"
            )
        said, recorded, due = said + one.cost_usd, recorded + one.recorded_usd, due + cost
    if counted.requests != calls:
        raise BadRun(f"the large model answered {counted.requests} requests where the answers say {calls}")
    sums = {"answers": round(said, 9), "records": round(recorded, 9), "due": round(due, 9)}
    return {"cost_usd": sums | {"broken_off": unknown}}


def _price(input_tokens: int, output_tokens: int, price: dict[str, float]) -> float:
    return 1e-6 * (input_tokens * price["input"] + output_tokens * price["output"])


@dataclass(frozen=True, slots=True)
class SmallTier:
    """Where the small model is, as the configuration says it."""

    upstream: dict[str, Any]
    model: dict[str, Any]


def bundled(model: Path) -> SmallTier:
    """Return the small model of the bundled engine."""
    return SmallTier({"kind": "engine", "model": str(model)}, {"model": str(model)})


def serve(
    folder: Path,
    table: dict[str, str],
    learned: Learned,
    small: SmallTier,
    rest: Sequence[Question],
    live: Sequence[Question],
) -> tuple[list[Answered], list[Served], mock_large.Count]:
    """Run a gateway with the policy; return the small model's answers to `rest`, the route's to `live`, and
    what the large model was asked by it.

    Raises BadRun, PeerUnavailable.
    """
    save(learned, folder / "policy.json")
    (folder / "table.json").write_bytes(msgspec.json.encode(table))
    bench = Bench("", None, folder)
    port = gateways.free_port()
    command = [sys.executable, "-m", "benchmarks.peers.mock_large", str(port), str(folder / "table.json")]
    with (
        bench.start("large", command, port, ready="/count") as mock,
        _gateway(bench, mock, small) as gateway,
    ):
        return asyncio.run(_ask(gateway, mock, rest, live))


@contextlib.contextmanager
def _gateway(bench: Bench, mock: Running, small: SmallTier) -> Iterator[Running]:
    port = gateways.free_port()
    file = bench.folder / "forebay.yaml"
    # JSON is YAML.
    file.write_text(json.dumps(config_of(bench.folder, port, mock.url, small)))
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "serve", "--config", str(file)]
    with bench.start("forebay", command, port, ready="/health/ready") as running:
        yield running


def config_of(folder: Path, port: int, mock: str, small: SmallTier) -> dict[str, Any]:
    """Return the gateway's configuration; whatever it leaves out is the default."""
    return {
        "server": {"port": port, "drain_s": 1},
        "upstreams": {
            "near": small.upstream,
            "far": {"kind": "openai", "base_url": f"{mock}/v1", "api_key": mock_openai.KEY},
        },
        "models": {
            SMALL: {"upstream": "near", "price": _SMALL_PRICE, **small.model},
            LARGE: {"upstream": "far", "model": mock_large.MODEL, "price": _LARGE_PRICE},
        },
        "routes": {ROUTE: {"tiers": [SMALL, LARGE], "policy": str(folder / "policy.json")}},
        "cache": {"store": f"sqlite://{folder}/cache.db"},
        "state": {"store": f"sqlite://{folder}/state.db"},
        "telemetry": {"sample": 0.0, "log_level": "warning"},
    }


async def _ask(
    gateway: Running, mock: Running, rest: Sequence[Question], live: Sequence[Question]
) -> tuple[list[Answered], list[Served], mock_large.Count]:
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(gateway.url, timeout=timeout) as http:
        _say(f"live: {len(live)} questions to the route, every second one as a stream")
        served: dict[int, Served] = {}
        numbers = iter(range(len(live)))

        async def caller() -> None:
            for number in numbers:
                served[number] = await _serve(http, live[number], stream=bool(number % 2))

        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(caller())
        async with http.get(f"{mock.url}/count") as response:
            counted = msgspec.json.decode(await response.read(), type=mock_large.Count)
        _say(f"live: {len(rest)} questions to the small model, for its answers' probabilities")
        small = await ask_all(http, SMALL, rest)
    return small, [served[number] for number in range(len(live))], counted


async def _serve(http: aiohttp.ClientSession, question: Question, *, stream: bool) -> Served:
    body = body_of(question, ROUTE) | ({"stream": True} if stream else {})
    begun = time.perf_counter()
    async with http.post("/v1/chat/completions", json=body, headers={"x-forebay-report": "1"}) as response:
        got = await response.read()
        headers = response.headers
        if response.status != 200:
            raise BadRun(f"the route answered {response.status}: {got[:300]!r}")
    ms = (time.perf_counter() - begun) * 1000
    text, report = _streamed(got) if stream else (_whole(got), None)
    async with http.get(f"/forebay/requests/{headers['x-forebay-request-id']}") as response:
        record = json.loads(await response.read())
    cost = headers["x-forebay-cost-usd"] if report is None else report["cost_usd"]
    return Served(
        question,
        is_right(question, text),
        record["route"],
        None if cost is None else float(cost),
        record["cost_usd"],
        headers["x-forebay-cache"],
        ms,
    )


def _whole(body: bytes) -> str:
    return str(json.loads(body)["choices"][0]["message"]["content"])


def _streamed(body: bytes) -> tuple[str, dict[str, Any]]:
    """Return the text of a stream and the report at its end."""
    text, report = [], None
    for line in body.decode().splitlines():
        if line.startswith(": forebay "):
            report = json.loads(line.removeprefix(": forebay "))
        elif line.startswith("data: {"):
            choices = json.loads(line.removeprefix("data: "))["choices"]
            text += [choice["delta"].get("content") or "" for choice in choices]
    if report is None:
        raise BadRun("a stream ended without its report")
    return "".join(text), report


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
