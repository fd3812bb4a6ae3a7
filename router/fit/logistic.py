"""Fits `router.logistic.Logistic`: standardised signs, L2 penalty, Newton steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from router.errors import TooFewOutcomes
from router.logistic import FARTHEST, Logistic, Weight


def fit_logistic(
    signs: Sequence[Mapping[str, float]], right: Sequence[bool], penalty: float = 100.0
) -> Logistic:
    """Return the model of `right`; a sign that a row lacks counts as the mean of the others.

    The penalty is large because signs are many, alike and noisy. Raises TooFewOutcomes if all outcomes are
    alike.
    """
    if len(set(right)) < 2:
        raise TooFewOutcomes("there must be right and wrong answers to learn from")
    names = sorted({name for row in signs for name in row})
    table = np.array([[row.get(name, np.nan) for name in names] for row in signs])
    means = np.nanmean(table, axis=0)
    deviations = np.nanstd(table, axis=0)
    varying = deviations > 1e-9
    x = np.nan_to_num((table[:, varying] - means[varying]) / deviations[varying])
    x = np.clip(x, -FARTHEST, FARTHEST)
    kept = [name for name, varies in zip(names, varying, strict=True) if varies]
    bias, weights = _newton(x, np.asarray(right, dtype=float), penalty)
    return Logistic(
        bias,
        {
            name: Weight(float(weight), float(mean), float(deviation))
            for name, weight, mean, deviation in zip(
                kept, weights, means[varying], deviations[varying], strict=True
            )
        },
    )


def _newton(
    x: NDArray[np.float64], y: NDArray[np.float64], penalty: float
) -> tuple[float, NDArray[np.float64]]:
    """x: [rows, signs] standardised; y: [rows] of 0 and 1. The bias is not penalised."""
    with_bias = np.hstack([np.ones((len(x), 1)), x])
    ridge = np.full(with_bias.shape[1], penalty)
    ridge[0] = 1e-6
    weights = np.zeros(with_bias.shape[1])
    weights[0] = np.log(y.mean() / (1 - y.mean()))
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(with_bias @ weights, -30, 30)))
        slope = with_bias.T @ (y - p) - ridge * weights
        curvature = (with_bias * (p * (1 - p))[:, None]).T @ with_bias + np.diag(ridge)
        step = np.linalg.solve(curvature, slope)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return float(weights[0]), weights[1:]
