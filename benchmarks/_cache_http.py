"""What the cache costs over HTTP: a gateway process, its semantic process, SQLite, and a mock that counts.

One scope is filled by `forebay cache warm`. Then, one request at a time and with several callers: questions
asked before (exact hits), the pairs' second wordings (semantic hits, the first time and again), and new
questions (misses, each paired with the same request straight to the mock). Every answer is checked against
the table that the mock answers by, and the mock must have seen exactly the requests that were no hits.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import msgspec
import uvloop

from benchmarks._cache_data import Sets
from benchmarks._cache_plan import BadRun, Plan, Size, plan
from benchmarks._cache_progress import say
from benchmarks._load import CHAT, answered, cpu_seconds, rss_mb
from benchmarks.peers import gateways, mock_answers, mock_openai
from benchmarks.peers.gateways import Bench, Running
from benchmarks.report import Figures
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Numbers, Stats

TENANT = "bench"
PLAIN = 200
"""Characters up to which a question is a plain one; the pairs hold word problems too, which take longer to
embed."""
CALLERS = 8
READY_S = 600.0
STEPS = ("embed", "search", "gates", "candidates", "decide")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: what the gateway called it, whether it is the right one, and where its time went."""

    text: str
    verdict: str
    right: bool
    ms: float
    steps: dict[str, float]


@dataclass(slots=True)
class Client:
    """Asks the gateway or the mock, and checks every answer."""

    http: aiohttp.ClientSession
    table: mock_answers.Table
    asked: Counter[str] = field(default_factory=Counter)

    async def ask(self, target: Running, text: str) -> Reply:
        """Ask one question. Raises BadRun."""
        body = msgspec.json.encode(
            {"model": mock_openai.MODEL, "messages": [{"role": "user", "content": text}]}
        )
        headers = {"content-type": "application/json", **target.headers}
        began = time.perf_counter()
        async with self.http.post(target.url + CHAT, data=body, headers=headers) as response:
            got = await response.read()
        ms = (time.perf_counter() - began) * 1000
        if response.status != 200:
            raise BadRun(f"{target.name}: HTTP {response.status}: {got[:300]!r}")
        verdict = response.headers.get("x-forebay-cache", "direct")
        answer = json.loads(got)["choices"][0]["message"]["content"]
        right = answer == self.table.answers[self.table.questions[text]]
        if not right and verdict != "hit-semantic":
            raise BadRun(f"{target.name} gave another question's answer and called it {verdict}")
        self.asked[verdict] += 1
        return Reply(text, verdict, right, ms, _timings(response.headers.get("server-timing", "")))

    async def ask_all(self, target: Running, texts: Sequence[str], callers: int = 1) -> list[Reply]:
        """Ask many questions in turn, or by several callers."""
        left = iter(texts)

        async def caller() -> list[Reply]:
            return [await self.ask(target, text) for text in left]

        return list(itertools.chain(*await asyncio.gather(*(caller() for _ in range(callers)))))


def measure(sets: Sets, embedder: Path | None, size: Size) -> Figures:
    """Start everything, ask, and return the figures. Raises BadRun, PeerUnavailable."""
    chosen = plan(sets, size)
    with tempfile.TemporaryDirectory(prefix="forebay-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "tmp").mkdir()
        table = folder / "table.json"
        table.write_bytes(msgspec.json.encode(chosen.table))
        bench = Bench("", None, folder)
        port = gateways.free_port()
        mock = stack.enter_context(
            bench.start(
                "mock",
                [sys.executable, "-m", "benchmarks.peers.mock_answers", str(port), str(table)],
                port,
                ready="/count",
                headers={"authorization": f"Bearer {mock_openai.KEY}"},
            )
        )
        gateway = stack.enter_context(_gateway(bench, mock, chosen, embedder))
        return uvloop.run(_measure(gateway, mock, chosen, size, folder))


@contextlib.contextmanager
def _gateway(bench: Bench, mock: Running, chosen: Plan, embedder: Path | None) -> Iterator[Running]:
    port = gateways.free_port()
    digest = hashlib.sha256(gateways.CLIENT_KEY.encode()).hexdigest()
    # JSON is YAML.
    config = {
        "server": {"port": port, "drain_s": 1},
        "upstreams": {"mock": {"kind": "openai", "base_url": f"{mock.url}/v1", "api_key": mock_openai.KEY}},
        "models": {mock_openai.MODEL: {"upstream": "mock", "price": {"input": 1, "output": 2}}},
        "telemetry": {"sample": 0.0, "log_level": "warning"},
        "cache": {
            "store": f"sqlite://{bench.folder}/cache.db",
            "semantic": {"embedder": str(embedder) if embedder else "minilm-l6", "error_budget": 0.01},
        },
        "state": {"store": f"sqlite://{bench.folder}/state.db"},
        "tenants": [
            {
                "name": TENANT,
                "key_hash": f"sha256:{digest}",
                "limits": {"rpm": 100_000_000, "tpm": 1_000_000_000_000, "usd_per_day": 1_000_000},
            }
        ],
    }
    file = bench.folder / "forebay.yaml"
    file.write_text(json.dumps(config))
    command = [sys.executable, "-c", "from gateway.cli import main; main()"]
    _warm(command, file, bench.folder, chosen)
    with bench.start(
        "forebay",
        [*command, "serve", "--config", str(file)],
        port,
        ready="/health/ready",
        headers={"authorization": f"Bearer {gateways.CLIENT_KEY}"},
        # Its socket is looked for there.
        env={"TMPDIR": str(bench.folder / "tmp")},
    ) as running:
        yield running


def _warm(command: Sequence[str], config: Path, folder: Path, chosen: Plan) -> None:
    past = folder / "past.jsonl"
    table = chosen.table
    with past.open("wb") as out:
        for text in chosen.stored:
            request = {"model": mock_openai.MODEL, "messages": [{"role": "user", "content": text}]}
            response = msgspec.Raw(mock_answers.reply(table.answers[table.questions[text]]))
            out.write(msgspec.json.encode({"request": request, "response": response}) + b"\n")
    warm = [*command, "cache", "warm", str(past), "--tenant", TENANT, "--config", str(config)]
    result = subprocess.run(warm, capture_output=True, text=True, check=False, cwd=folder)
    if result.returncode:
        raise BadRun(f"forebay cache warm failed: {result.stderr[-1000:]}")
    past.unlink()


async def _measure(gateway: Running, mock: Running, chosen: Plan, size: Size, folder: Path) -> Figures:
    chance = Random(17)
    held = await _until_indexed(folder / "tmp")
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        client = Client(http, chosen.table)
        say("HTTP: one caller")
        await client.ask_all(gateway, chance.sample(chosen.stored, min(50, len(chosen.stored))))
        first = await client.ask_all(gateway, chosen.reworded)
        hit = [reply.text for reply in first if reply.verdict == "hit-semantic"]
        if not hit:
            raise BadRun("none of the pairs' second wordings was a semantic hit")
        new = iter(chosen.new)
        direct, misses = await _paired(client, gateway, mock, list(itertools.islice(new, size.misses)))
        before = cpu_seconds(gateway.process.pid)
        again = await client.ask_all(gateway, chance.choices(hit, k=size.repeats))
        hit_cpu = (cpu_seconds(gateway.process.pid) - before) * 1000 / len(again)
        before = cpu_seconds(gateway.process.pid)
        exact = await client.ask_all(gateway, chance.choices(chosen.stored, k=size.repeats))
        exact_cpu = (cpu_seconds(gateway.process.pid) - before) * 1000 / len(exact)
        say(f"HTTP: {CALLERS} callers")
        many_exact = await client.ask_all(gateway, chance.choices(chosen.stored, k=2 * size.repeats), CALLERS)
        many_hits = await client.ask_all(gateway, chance.choices(hit, k=2 * size.repeats), CALLERS)
        many_misses = await client.ask_all(gateway, list(itertools.islice(new, 2 * size.misses)), CALLERS)
        many_direct = await client.ask_all(mock, [reply.text for reply in many_misses], CALLERS)
        upstream = client.asked["miss"] + client.asked["direct"]
        if (seen := await answered(http, mock)) != upstream:
            raise BadRun(f"the mock saw {seen} requests where {upstream} were due")
    figures: Figures = {"entries": held, "asked_reworded": len(first), "hit_reworded": len(hit)}
    served = [reply for reply in first if reply.verdict == "hit-semantic"]
    # By the pairs' labels and the streams' intents, which do not know all that means the same.
    figures["hit_reworded_unlike"] = sum(not reply.right for reply in served)
    figures |= _latency("exact", exact, "hit-exact") | {"exact_cpu_ms": round(exact_cpu, 3)}
    plain, long = _by_length(again)
    figures |= _latency("semantic_hit", plain, "hit-semantic") | {"semantic_hit_cpu_ms": round(hit_cpu, 3)}
    figures |= _latency("semantic_hit_long", long, "hit-semantic")
    figures |= _latency("semantic_hit_first", _by_length(first)[0], "hit-semantic")
    kept = [(there, reply) for there, reply in zip(direct, misses, strict=True) if reply.verdict == "miss"]
    figures |= _latency("miss", [reply for _, reply in kept], "miss")
    added = [reply.ms - there.ms for there, reply in kept]
    figures |= _quantiles("miss_overhead", added)
    figures |= _latency("callers8_exact", many_exact, "hit-exact")
    figures |= _latency("callers8_semantic_hit", _by_length(many_hits)[0], "hit-semantic")
    figures |= _latency("callers8_miss", many_misses, "miss") | _latency(
        "callers8_direct", many_direct, "direct"
    )
    # What the process did not look at within the gateway's deadline went on as a miss.
    figures["miss_unlooked"] = _unlooked(misses)
    figures["callers8_unlooked"] = _unlooked([*many_hits, *many_misses])
    figures["semantic_hit_first_split_ms"] = split([r for r in served if len(r.text) <= PLAIN])
    figures["semantic_hit_split_ms"] = split([r for r in plain if r.verdict == "hit-semantic"])
    figures["miss_split_ms"] = split([reply for _, reply in kept])
    figures["rss_tree_mb"] = rss_mb(gateway.process.pid)[1]
    return figures


async def _paired(
    client: Client, gateway: Running, mock: Running, texts: Sequence[str]
) -> tuple[list[Reply], list[Reply]]:
    """Ask the mock itself and the gateway the same, in turns, and each first as often as the other."""
    direct, through = [], []
    for place, text in enumerate(texts):
        if place % 2:
            direct.append(await client.ask(mock, text))
        through.append(await client.ask(gateway, text))
        if not place % 2:
            direct.append(await client.ask(mock, text))
    return direct, through


async def _until_indexed(folder: Path) -> int:
    """Wait until the semantic process has all vectors; returns how many it holds."""
    deadline = time.monotonic() + READY_S
    said = 0.0
    while time.monotonic() < deadline:
        for path in _sockets(folder):
            if (numbers := await _stats(path)) is not None:
                if numbers.caught_up and not numbers.waiting and numbers.entries:
                    return numbers.entries
                if time.monotonic() - said > 5:
                    said = time.monotonic()
                    say(f"HTTP: {numbers.entries} stored questions, {numbers.waiting} without a vector yet")
        await asyncio.sleep(0.2)
    raise BadRun(f"the semantic process was not ready within {READY_S:.0f} s")


def _sockets(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_socket()]


async def _stats(path: Path) -> Numbers | None:
    client = SemanticClient(str(path))
    client.start()
    try:
        for _ in range(100):
            if client.up:
                return await client.ask(Stats(), Numbers, 2.0)
            await asyncio.sleep(0.02)
        return None
    finally:
        await client.close()


def split(replies: Sequence[Reply]) -> dict[str, float]:
    """Return the medians of where the time went.

    `process` is what the semantic process does not account for: the way there and back, and its queue;
    `gateway` all the rest, HTTP included.
    """
    parts: dict[str, list[float]] = defaultdict(list)
    for reply in replies:
        steps = reply.steps
        if "semantic" not in steps:
            continue
        for step in STEPS:
            parts[step].append(steps.get(step, 0.0))
        parts["process"].append(steps["semantic"] - sum(steps.get(step, 0.0) for step in STEPS))
        parts["reread"].append(steps.get("reread", 0.0))
        upstream = steps.get("upstream", 0.0)
        parts["upstream"].append(upstream)
        parts["gateway"].append(reply.ms - steps["semantic"] - steps.get("reread", 0.0) - upstream)
    return {part: round(statistics.median(values), 3) for part, values in parts.items()}


def _unlooked(replies: Sequence[Reply]) -> float:
    unlooked = sum(r.verdict == "miss" and "semantic" not in r.steps for r in replies)
    return round(unlooked / len(replies), 4)


def _by_length(replies: Sequence[Reply]) -> tuple[list[Reply], list[Reply]]:
    return [r for r in replies if len(r.text) <= PLAIN], [r for r in replies if len(r.text) > PLAIN]


def _latency(name: str, replies: Sequence[Reply], verdict: str) -> Figures:
    return _quantiles(name, [reply.ms for reply in replies if reply.verdict == verdict])


def _quantiles(name: str, values: Sequence[float]) -> Figures:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"{name}_p50_ms": round(cuts[49], 3), f"{name}_p99_ms": round(cuts[98], 3)}


def _timings(header: str) -> dict[str, float]:
    out = {}
    for part in header.split(","):
        name, _, value = part.strip().partition(";dur=")
        with contextlib.suppress(ValueError):
            out[name] = float(value)
    return out
