"""What every benchmark says about itself: the machine, a table, and one line of JSON if asked."""

from __future__ import annotations

import json
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def machine() -> dict[str, Any]:
    """Describe this machine, and how busy it was when the benchmark began."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
    }


def read_bandwidth_gb_per_s() -> float:
    """Return how quickly all cores together read memory: the best of several sums over a large array."""
    import numpy as np

    cores = os.cpu_count() or 1
    parts = [np.ones(8 << 20) for _ in range(cores)]
    best = float("inf")
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(8):
            begun = time.perf_counter()
            list(pool.map(np.ndarray.sum, parts))
            best = min(best, time.perf_counter() - begun)
    return sum(part.nbytes for part in parts) / best / 1e9


def ratios(figures: Figures, peers: dict[str, Figures], higher_is_better: set[str]) -> dict[str, Figures]:
    """Return how many times better ours is than each peer, figure by figure; above 1 is a win."""
    out: dict[str, Figures] = {}
    for name, peer in peers.items():
        out[name] = {
            key: round(figures[key] / value if key in higher_is_better else value / figures[key], 3)
            for key, value in peer.items()
            if isinstance(value, int | float) and value and figures.get(key)
        }
    return out


def publish(
    bench: str,
    machine_: dict[str, Any],
    figures: Figures,
    peers: dict[str, Figures],
    ratios_: dict[str, Figures],
    *,
    as_json: bool,
) -> None:
    """Print a table of all systems, and the JSON line last if `as_json`."""
    print(f"\n{machine_['cpu']}, {machine_['cores']} cores, load {machine_['load_average']}")
    columns = {"forebay": figures, **peers}
    width = max(len(key) for key in figures) + 2
    print(" " * width + "".join(f"{name:>18}" for name in columns))
    for key in figures:
        cells = [column.get(key) for column in columns.values()]
        print(f"{key:<{width}}" + "".join(f"{_cell(cell):>18}" for cell in cells))
    for name, values in ratios_.items():
        print(f"ours against {name}: " + ", ".join(f"{key} {value}x" for key, value in values.items()))
    if as_json:
        line = {"bench": bench, "machine": machine_, "figures": figures, "peers": peers, "ratios": ratios_}
        print(json.dumps(line))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    # A peer's error stands in full in the JSON line.
    return "-" if value is None else str(value)[:16]


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
