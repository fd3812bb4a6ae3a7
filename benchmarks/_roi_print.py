"""The figures of the `roi` benchmark as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks._roi_run import PRICE, SMALL_PRICE
from benchmarks._roi_workloads import Workload
from benchmarks.peers import mock_paid
from benchmarks.report import Figures

Found = Mapping[str, Mapping[str, Figures]]
CLASSIC_CHEAPER, CLASSIC_FASTER, UNIQUE_SLOWER = 0.85, 5.0, 0.02


def print_head(machine: Figures) -> None:
    """Print what the figures stand on."""
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}")
    print(
        f"Paid model (scripted): first token after {mock_paid.FIRST_TOKEN_S * 1000:.0f} ms + "
        f"{mock_paid.S_PER_TOKEN_READ * 1e6:.0f} µs for a token of prompt that it does not hold, "
        f"{mock_paid.S_PER_TOKEN_WRITTEN * 1000:.0f} ms for a token written; USD per million: "
        f"{PRICE['input']} in, {PRICE['cache_read']} held, {PRICE['output']} out; batch x {PRICE['batch']}."
    )
    print(f"Small model (the bundled engine, cascade only), USD per million: {SMALL_PRICE}.", flush=True)


def print_one(workload: Workload, systems: Mapping[str, Figures]) -> None:
    """Print a table for one kind of traffic."""
    print(f"\n{workload.name}: {workload.asks} requests, {workload.callers} callers; {workload.about}")
    columns = ("USD", "mean ms", "p50 ms", "p95 ms", "calls", "errors", "wrong", "late ms", "cpu ms")
    print(f"  {'':<12}" + "".join(f"{column:>11}" for column in columns))
    for name, of in systems.items():
        cells = [f"{of['usd']:.5f}", f"{of['mean_ms']:.1f}", f"{of['p50_ms']:.1f}", f"{of['p95_ms']:.1f}"]
        cells += [str(of[figure]) for figure in ("upstream_requests", "errors", "wrong")]
        cells += [f"{of[figure]:.1f}" for figure in ("timer_late_ms", "server_cpu_ms")]
        print(f"  {name:<12}" + "".join(f"{cell:>11}" for cell in cells))
    ours = systems["forebay"]
    print(
        f"  {ours['cheaper']:.1%} cheaper, {ours['faster']:.2f}x faster "
        f"({ours['added_mean_ms']:+.1f} ms in the mean); verdicts {ours['verdicts']}"
    )
    layers = ", ".join(
        f"{name} ${usd:.5f} (~{ours['saved_s_estimated'][name]:.1f} s)"
        for name, usd in ours["saved_usd"].items()
    )
    print(f"  saved by layer: {layers or 'nothing'}")
    print(
        f"  the ledger says ${ours['ledger_direct_usd']:.5f} without us, {ours['ledger_claims']:+.1%} "
        f"against what it did cost; the provider's batch would have been ${ours['batch_usd']:.5f}",
        flush=True,
    )


def print_aims(found: Found) -> None:
    """Print whether the aims are met."""
    print()
    for line in aims(found):
        print(line, flush=True)


def aims(found: Found) -> Iterator[str]:
    """Say of every aim whether it is met."""
    if (classic := found.get("classic")) is not None:
        cheaper, faster = classic["forebay"]["cheaper"], classic["forebay"]["faster"]
        yield f"classic: {cheaper:.1%} cheaper, aim {CLASSIC_CHEAPER:.0%}: {_met(cheaper >= CLASSIC_CHEAPER)}"
        yield f"classic: {faster:.2f}x faster, aim {CLASSIC_FASTER:g}x: {_met(faster >= CLASSIC_FASTER)}"
    if (unique := found.get("unique")) is not None:
        added = unique["forebay"]["added_mean_ms"]
        slower = added / unique["direct"]["mean_ms"]
        yield (
            f"unique: {slower:.2%} slower ({added:+.1f} ms), aim {UNIQUE_SLOWER:.0%}: "
            f"{_met(slower <= UNIQUE_SLOWER)}"
        )
        yield f"unique: {-unique['forebay']['cheaper']:.2%} dearer"
    wrong = {name: int(system["forebay"]["wrong"]) for name, system in found.items()}
    told = ", ".join(f"{count} in {name}" for name, count in wrong.items() if count)
    yield f"wrong answers served: {told or 'none'}, aim none: {_met(not told)}"


def _met(met: bool) -> str:
    return "met" if met else "MISSED"
