"""Draws money and time of the `roi` benchmark side by side; runs where matplotlib is.

python draw_roi.py FIGURES.json PICTURE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LAYERS = {
    "exact": "#1b6ca8",
    "coalesced": "#59a5d8",
    "semantic": "#7e57c2",
    "compression": "#2e8b57",
    "cascade": "#d98c21",
    "prefix": "#b5b35c",
}
PAID, DIRECT, OURS, EXACT_ONLY, ADDED = "#3b3f46", "#b8bcc4", "#1b6ca8", "#9cc4e4", "#c0392b"


def main(figures: str, picture: str) -> None:
    """Draw two panels: the cost of each traffic as a share of direct, and mean latency."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found: dict[str, dict[str, Any]] = json.loads(Path(figures).read_text())
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10, "svg.fonttype": "none"})
    fig, (money, time) = plt.subplots(1, 2, figsize=(13, 4.8), width_ratios=(1, 1.25))
    _money(money, found)
    _time(time, found)
    for axes in (money, time):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="both", length=0)
        axes.set_axisbelow(True)
        axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    fig.tight_layout(w_pad=3)
    fig.savefig(picture, dpi=150)


def _money(axes: Any, found: dict[str, dict[str, Any]]) -> None:
    shown: dict[str, Any] = {}
    for place, systems in enumerate(found.values()):
        ours, direct = systems["forebay"], systems["forebay"]["ledger_direct_usd"]
        bottom = 100 * ours["ledger_actual_usd"] / direct
        added = -sum(usd for usd in ours["saved_usd"].values() if usd < 0)
        shown["paid"] = axes.bar(place, bottom, 0.62, color=PAID)
        _label(axes, place, bottom / 2, bottom)
        if added > 0.002 * direct:
            part = 100 * added / direct
            shown["added by us, in what was paid"] = axes.bar(place, part, 0.62, bottom - part, color=ADDED)
        for layer, colour in LAYERS.items():
            if (part := 100 * ours["saved_usd"].get(layer, 0) / direct) > 0.2:
                shown[layer] = axes.bar(place, part, 0.62, bottom, color=colour)
                if part > 6:
                    _label(axes, place, bottom + part / 2, part)
                bottom += part
    axes.set_xticks(range(len(found)), list(found))
    axes.set_ylim(0, 108)
    axes.set_ylabel("% of what it would have cost directly")
    axes.set_title("Money: paid, and saved by layer", loc="left", fontsize=11, fontweight="bold")
    order = [name for name in ("paid", "added by us, in what was paid", *LAYERS) if name in shown]
    axes.legend(
        [shown[name] for name in order],
        order,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
        ncols=min(3, len(order)),
        frameon=False,
        fontsize=9,
    )


def _label(axes: Any, x: float, y: float, value: float) -> None:
    axes.text(x, y, f"{value:.0f}", ha="center", va="center", color="white", fontsize=9)


def _time(axes: Any, found: dict[str, dict[str, Any]]) -> None:
    names = ("direct", "exact-only", "small-only", "forebay")
    colours = {"direct": DIRECT, "exact-only": EXACT_ONLY, "small-only": "#e7c48f", "forebay": OURS}
    handles: dict[str, Any] = {}
    for place, systems in enumerate(found.values()):
        present = [name for name in names if name in systems]
        for at, name in enumerate(present):
            mean = systems[name]["mean_ms"] / 1000
            x = place + (at - (len(present) - 1) / 2) * 0.285
            handles[name] = axes.bar(x, mean, 0.26, color=colours[name])
            label = f"{mean:.2f}" if mean >= 0.095 else f"{mean:.3f}"
            axes.text(x, mean, label, ha="center", va="bottom", fontsize=7, color="#3b3f46")
    axes.set_xticks(range(len(found)), list(found))
    axes.set_ylabel("seconds")
    axes.set_title("Time: mean seconds to an answer", loc="left", fontsize=11, fontweight="bold")
    order = [name for name in names if name in handles]
    axes.legend(
        [handles[name] for name in order],
        order,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
        ncols=len(order),
        frameon=False,
        fontsize=9,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
