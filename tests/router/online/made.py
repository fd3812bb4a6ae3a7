"""Outcomes that are made up, with a sign that tells as much as is wanted."""

from __future__ import annotations

import random
from collections.abc import Callable

from router.after.signs import AnswerSigns
from router.online.tried import Tried


def outcomes(
    count: int,
    *,
    seed: int = 0,
    tenant: str = "ada",
    tier: str = "small",
    right: Callable[[float], float] = lambda sure: sure,
    noise: float = 0.1,
    start: float = 0.0,
    weight: float = 1.0,
) -> list[Tried]:
    """Return outcomes that are right with the probability `right(sure)`; the sign `sure` shows the argument,
    blurred."""
    draw = random.Random(f"{seed} {tenant} {tier} {start}")
    found = []
    for number in range(count):
        sure = draw.random()
        shown = {"sure": sure + draw.gauss(0, noise), "odd": draw.gauss(0, 1)}
        found.append(
            Tried(
                f"{seed} {tenant} {tier} {start} {number}", tenant, tier, start + number,
                {"length": draw.random()}, AnswerSigns(shown, None, ()), draw.random() < right(sure), weight,
            )
        )  # fmt: skip
    return found
