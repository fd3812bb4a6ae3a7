"""What Forebay saves and what it costs: the same traffic to a paid model directly, and through a gateway.

    forebay bench roi [--json] [--plot PICTURE.png|.svg] [--size X] [--only NAME …] [--no-engine]

Six kinds of traffic, each sent over real HTTP in the same order by as many callers, first to the paid model
itself, then through `forebay serve` with the exact cache alone, then as people run it (exact and semantic
cache, lossless compression), each with empty stores. The paid model is scripted: `benchmarks/peers/mock_paid`
states its times and its prompt cache. Money is what its own bill says, and must be what the gateway's ledger
says. The cascade asks the bundled engine first, with a policy that `forebay route train` has learned from
other sums. Answers are compared with the right ones. All of it takes about four minutes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import cyclopts
import uvloop

from benchmarks import _roi_plot, _roi_print, environments, report
from benchmarks._cache_progress import say
from benchmarks._roi_run import BadRun, Replay, Target, replay
from benchmarks._roi_systems import (
    LARGE,
    ROUTE,
    SMALL,
    Rooms,
    answers,
    engine_config,
    paid_model,
    train,
)
from benchmarks._roi_workloads import Workload, all_workloads, sums
from benchmarks.peers import mock_paid
from benchmarks.peers.gateways import Bench
from benchmarks.report import Figures

EXACT_ONLY = {"cache": {"semantic": None}, "compress": {"mode": "off"}}
LEARN_FROM = 150
Systems = dict[str, Figures]


def bench(
    *,
    json_: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
    plot: Path | None = None,
    size: float = 1.0,
    only: Annotated[tuple[str, ...], cyclopts.Parameter(negative="")] = (),
    engine: bool = True,
) -> None:
    """Measure what is saved, by layer, and what it costs where nothing can be.

    Parameters
    ----------
    json_
        Print one JSON object as the last line.
    plot
        Draw the figures into this file, a .png or .svg; installs matplotlib into a throw-away environment.
    size
        How many times as much traffic as usual.
    only
        Kinds of traffic: classic, reworded, chat, agent, unique, cascade.
    engine
        Run the cascade, which needs the bundled engine and its model.
    """
    if plot is not None and plot.suffix not in (".png", ".svg"):
        sys.exit("bench roi: --plot must end in .png or .svg")
    machine = report.machine()
    _roi_print.print_head(machine)
    cascade, learning = sums(round(60 * size)), sums(LEARN_FROM, seed=6, name="learning")
    every = [*all_workloads(size), *([cascade] if engine else [])]
    if unknown := set(only) - {workload.name for workload in every}:
        sys.exit(f"bench roi: there is no traffic '{unknown.pop()}'")
    wanted = [workload for workload in every if not only or workload.name in only]
    try:
        with tempfile.TemporaryDirectory(prefix="forebay-roi-") as name:
            room = Bench("", None, Path(name))
            with paid_model(room, [*wanted, learning]) as paid:
                rooms = Rooms(room, paid)
                found = _plain(rooms, [workload for workload in wanted if workload is not cascade])
                if cascade in wanted:
                    found[cascade.name] = _cascade(rooms, cascade, learning)
        _roi_print.print_aims(found)
        if plot is not None:
            _roi_plot.draw(found, plot)
    except (BadRun, environments.PeerUnavailable) as error:
        sys.exit(f"bench roi: {error}")
    if json_:
        print(json.dumps(_line(machine, found)))


def _plain(rooms: Rooms, workloads: Sequence[Workload]) -> dict[str, Systems]:
    with (
        rooms.gateway("exact-only", LARGE, workloads, **EXACT_ONLY) as exact_only,
        rooms.gateway("forebay", LARGE, workloads) as forebay,
    ):
        targets = {"direct": rooms.direct(), "exact-only": exact_only, "forebay": forebay}
        out = {}
        for workload in workloads:
            runs = {name: _run(rooms, target, workload) for name, target in targets.items()}
            out[workload.name] = _figures(runs)
            _roi_print.print_one(workload, out[workload.name])
        return out


def _cascade(rooms: Rooms, workload: Workload, learning: Workload) -> Systems:
    out = {"direct": _run(rooms, rooms.direct(), workload)}
    folder, both = rooms.bench.folder, [workload, learning]
    log, policy = folder / "outcomes.jsonl", folder / "policy.json"
    with rooms.gateway("small-only", SMALL, both, **engine_config(), **EXACT_ONLY) as target:
        say(f"cascade: a policy is learned from {learning.asks} other sums")
        log.write_text(uvloop.run(_answers(target, learning)))
        out["small-only"] = _run(rooms, target, workload)
    say(train(log, policy).splitlines()[-1])
    routes = {ROUTE: {"tiers": [SMALL, LARGE], "policy": str(policy)}}
    with rooms.gateway("cascade", ROUTE, both, routes=routes, **engine_config()) as target:
        out["forebay"] = _run(rooms, target, workload)
    figures = _figures(out)
    _roi_print.print_one(workload, figures)
    return figures


def _run(rooms: Rooms, target: Target, workload: Workload) -> Replay:
    say(f"{workload.name}: {target.running.name}, {workload.asks} requests")

    async def run() -> Replay:
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            whole_bill = target.model in (LARGE, mock_paid.MODEL)
            try:
                return await replay(http, rooms.paid, target, workload, whole_bill=whole_bill)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise BadRun(f"{workload.name}, {target.running.name}: {error!r}") from None

    return uvloop.run(run())


async def _answers(target: Target, learning: Workload) -> str:
    async with aiohttp.ClientSession() as http:
        return await answers(http, target, learning)


def _figures(replays: dict[str, Replay]) -> Systems:
    out = {name: one.figures() for name, one in replays.items()}
    direct, ours = out["direct"], out["forebay"]
    ours["cheaper"] = round(1 - ours["usd"] / direct["usd"], 4)
    ours["faster"] = round(direct["mean_ms"] / ours["mean_ms"], 3)
    ours["added_mean_ms"] = round(ours["mean_ms"] - direct["mean_ms"], 2)
    # The ledger's claim of what it would have cost, beside what it did cost.
    ours["ledger_claims"] = round(ours["ledger_direct_usd"] / direct["usd"] - 1, 4)
    return out


def _line(machine: dict[str, Any], found: dict[str, Systems]) -> dict[str, Any]:
    """Return the JSON object, traffic by traffic."""
    peers: dict[str, Figures] = {}
    for workload, systems in found.items():
        for name, figures in systems.items():
            if name != "forebay":
                peers.setdefault(name, {})[workload] = figures
    ours = {workload: systems["forebay"] for workload, systems in found.items()}
    ratios: dict[str, Figures] = {
        name: {
            workload: {
                figure: round(of[figure] / ours[workload][figure], 3)
                for figure in ("usd", "mean_ms", "p50_ms", "p95_ms")
                if ours[workload][figure]
            }
            for workload, of in by_workload.items()
        }
        for name, by_workload in peers.items()
    }
    load = {"load_average_end": round(os.getloadavg()[0], 2)}
    return {"bench": "roi", "machine": machine | load, "figures": ours, "peers": peers, "ratios": ratios}


if __name__ == "__main__":
    cyclopts.run(bench)
