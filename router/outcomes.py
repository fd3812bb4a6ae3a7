"""What became of past requests: JSON Lines, one outcome a line.

    {"prompt": "…", "topic": "law", "weak_correct": 1, "strong_correct": 1,
     "weak_cost": 0.0001, "strong_cost": 0.004, "weak_answer": "…"}

`weak` is the cheap tier, `strong` the dear one. All but the prompt and the two flags may be null or missing,
and fields with other names are passed over: a log may say more than the router reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import BadOutcomes


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request that both tiers answered."""

    prompt: str
    weak_right: bool
    strong_right: bool
    topic: str | None = None
    weak_cost_usd: float | None = None
    strong_cost_usd: float | None = None
    weak_answer: str | None = None

    @property
    def gain(self) -> int:
        """What the strong tier changes: 1 if only it is right, -1 if only the weak one is, else 0."""
        return self.strong_right - self.weak_right


def read_outcomes(path: Path) -> list[Outcome]:
    """Read a log; lines without both flags are left out, they compare nothing. Raises BadOutcomes."""
    with path.open(encoding="utf-8") as lines:
        return parse_outcomes(lines, path.name)


def parse_outcomes(lines: Iterable[str], name: str) -> list[Outcome]:
    """Do the same with lines that are here already; `name` stands in errors."""
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            outcome = _outcome(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadOutcomes(f"{name}:{number}: {error or type(error).__name__}") from None
        if outcome is not None:
            found.append(outcome)
    return found


def _outcome(row: dict[str, Any]) -> Outcome | None:
    weak, strong = row.get("weak_correct"), row.get("strong_correct")
    if weak is None or strong is None:
        return None
    if weak not in (0, 1) or strong not in (0, 1):
        raise ValueError("weak_correct and strong_correct are 0, 1 or null")
    return Outcome(
        _text(row["prompt"], "prompt"),
        bool(weak),
        bool(strong),
        _text_or_none(row.get("topic"), "topic"),
        _cost(row.get("weak_cost")),
        _cost(row.get("strong_cost")),
        _text_or_none(row.get("weak_answer"), "weak_answer"),
    )


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    return value


def _text_or_none(value: object, name: str) -> str | None:
    return None if value is None else _text(value, name)


def _cost(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError("a cost is a number of US dollars")
    return float(value)
