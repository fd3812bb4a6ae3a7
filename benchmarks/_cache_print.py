"""Tables of the cache benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.report import Figures

_COLUMNS = {
    "recall": 8,
    "wrong": 7,
    "different": 10,
    "wrong_rate": 11,
    "wrong_rate_upper95": 9,
    "precision": 11,
    "precision_lower95": 9,
}


def print_pairs(mine: Figures, others: dict[str, Figures]) -> None:
    """Print every set: ours, ours by halves of the kinds, everybody else, and ours by kind."""
    heads = ["recall", "wrong", "of", "rate", "upper95", "precision", "lower95"]
    print(f"\n{'set':<22}{'system':<20}" + _cells(heads))
    for name, found in mine.items():
        rows = [("ours", found), ("ours, left out", found["unseen"]), ("ours, others", found["seen"])]
        rows += [(system, by_set[name]) for system, by_set in others.items() if name in by_set]
        for system, row in rows:
            if "error" in row:
                print(f"{name:<22}{system:<20}{row['error']}")
                continue
            print(f"{name:<22}{system:<20}" + _cells([_cell(row[key]) for key in _COLUMNS]))
        for system, note in {s: row["method"] for s, row in rows if "method" in row}.items():
            print(f"{name:<22}{system}: {note}")
    print("\nOurs by kind (*: left unread while this was built)")
    print(f"{'':<80}{'same':>7}{'hits':>6}{'recall':>8}{'different':>11}{'hits':>6}{'rate':>8}{'upper95':>9}")
    for found in (mine["mixed"],) if "mixed" in mine else mine.values():
        for group, row in found["groups"].items():
            right = row["hits"] - row["wrong"]
            print(
                f"{'*' if row['unseen'] else ' '} {group[:76]:<78}{row['same']:>7}{right:>6}"
                f"{_cell(row['recall']):>8}{row['different']:>11}{row['wrong']:>6}{_cell(row['wrong_rate']):>8}"
                f"{_cell(row['wrong_rate_upper95']):>9}"
            )


def print_streams(mine: Figures, others: dict[str, Figures]) -> None:
    """Print every stream: hits, wrong hits with their bound, and both over time."""
    for name, kinds in mine.items():
        for kind, found in kinds.items():
            print(
                f"\n{name}, {kind}, {found['questions']} questions"
                f"\n{'':<14}{'hits':>8}{'wrong/hit':>11}{'upper95':>9}   hits and wrong ones by quarter"
            )
            rows = [
                ("ours", found),
                *((s, by_set[name][kind]) for s, by_set in others.items() if name in by_set),
            ]
            for system, row in rows:
                over_time = "  ".join(
                    f"{hits}/{wrong}"
                    for hits, wrong in zip(row["hits_by_quarter"], row["wrong_by_quarter"], strict=True)
                )
                print(
                    f"{system:<14}{_cell(row['hit_rate']):>8}{_cell(row['wrong_per_hit']):>11}"
                    f"{_cell(row['wrong_per_hit_upper95']):>9}   {over_time}"
                )
            if "claimed_bound" in found:
                noticed = ", ".join(map(str, found["drift_noticed_at"])) or "never"
                print(
                    f"ours said at most {_cell(found['claimed_bound'])} wrong per hit, by quarter "
                    f"{'  '.join(map(_cell, found['claimed_bound_by_quarter']))}; drift noticed: {noticed}"
                )


def print_http(figures: Figures) -> None:
    """Print latencies, and where a hit's and a miss's time goes."""
    print(f"\nOver HTTP, {figures['entries']} stored questions in one scope, SQLite")
    width = max(map(len, figures)) + 2
    for key, value in figures.items():
        if isinstance(value, dict):
            print(f"{key:<{width}}" + "  ".join(f"{part} {ms:g}" for part, ms in value.items()))
        else:
            print(f"{key:<{width}}{value}")


def print_targets(found: Iterable[dict[str, Any]]) -> None:
    """Print each target and whether it holds."""
    print()
    for row in found:
        bound = f"at least {row['least']:g}" if "least" in row else f"at most {row['most']:g}"
        print(f"{'holds ' if row['holds'] else 'MISSED'} {row['target']}: {_cell(row['value'])}, {bound}")


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _COLUMNS.values(), strict=True))


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)
