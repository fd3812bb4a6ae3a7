"""A logistic model learned in a few passes over the outcomes, some microseconds a row and pass.

Stochastic gradient steps from where the anchor stands (a model that was learned elsewhere), drawn back to it
after each pass: with few outcomes the anchor decides, with many it is forgotten. The weights are the mean of
those of the last pass (Polyak and Juditsky, 1992).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import sqrt
from operator import mul

from router.logistic import FARTHEST, Logistic, Weight, sigmoid

_PASSES = 4
_RATE = 0.05
_HOLD = 50.0
"""How many outcomes the anchor counts as."""
Signs = Mapping[str, float]


def fit_online(rows: Sequence[Signs], right: Sequence[bool], anchor: Logistic | None = None) -> Logistic:
    """Return the model of `right`; a sign that a row lacks counts as the mean of the others.

    Without rows it is the anchor, or a coin.
    """
    scales = _scales(rows, anchor)
    names = list(scales)
    start = [0.0 if anchor is None or name not in anchor.weights else anchor.weights[name].weight
             for name in names]  # fmt: skip
    bias = 0.0 if anchor is None else anchor.bias
    weights, places = list(start), list(range(len(rows)))
    table = [_standard(row, scales) for row in rows]
    draw = random.Random(0)
    # All passes together draw the weights back as far as so many outcomes would.
    hold = (len(rows) / (len(rows) + _HOLD)) ** (1 / _PASSES)
    for lap in range(_PASSES):
        draw.shuffle(places)
        rate = _RATE / (1 + lap)
        sums, bias_sum = [0.0] * len(names), 0.0
        for place in places:
            x = table[place]
            step = rate * (sigmoid(bias + sum(map(mul, weights, x))) - right[place])
            bias -= step
            weights = [weight - step * value for weight, value in zip(weights, x, strict=True)]
            if lap == _PASSES - 1:
                sums = [total + weight for total, weight in zip(sums, weights, strict=True)]
                bias_sum += bias
        if lap == _PASSES - 1 and places:
            weights, bias = [total / len(places) for total in sums], bias_sum / len(places)
        weights = [begun + hold * (weight - begun) for begun, weight in zip(start, weights, strict=True)]
    return Logistic(
        bias,
        {name: Weight(weight, *scales[name]) for name, weight in zip(names, weights, strict=True)},
    )


def _scales(rows: Sequence[Signs], anchor: Logistic | None) -> dict[str, tuple[float, float]]:
    """Return mean and deviation of each sign that varies: the anchor's, since its weights are in those."""
    found = {} if anchor is None else {n: (w.mean, w.deviation) for n, w in anchor.weights.items()}
    for name in sorted({name for row in rows for name in row} - found.keys()):
        values = [row[name] for row in rows if name in row]
        mean = sum(values) / len(values)
        deviation = sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        if deviation > 1e-9:
            found[name] = mean, deviation
    return found


def _standard(row: Signs, scales: Mapping[str, tuple[float, float]]) -> list[float]:
    found = []
    for name, (mean, deviation) in scales.items():
        value = row.get(name)
        z = 0.0 if value is None else (value - mean) / deviation
        found.append(min(FARTHEST, max(-FARTHEST, z)))
    return found
