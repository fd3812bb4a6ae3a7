"""RouteLLM's matrix factorisation (arXiv 2406.18665, section 4.2), for one pair of models.

δ_m = w · (v_m ⊙ W e_q), v_m of unit length, 128 factors; binary cross entropy on which model won, Adam with
noise on the vectors. Queries on which both models did equally well say nothing about preference and are left
out there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.before.linear import Factorised, Linear
from router.errors import TooFewOutcomes

Array = NDArray[np.float64]
_FACTORS = 128
_EPOCHS = 100
_BATCH = 64
_RATE = 3e-4
_DECAY = 1e-5
_NOISE = 0.1


def fit_factorization(vectors: NDArray[np.float32], gain: NDArray[np.float64], seed: int = 0) -> Factorised:
    """Return P(strong wins | query) as learned from vectors [rows, dim] and gains [rows] of -1, 0 and 1.

    Raises TooFewOutcomes if no query told the models apart.
    """
    told = gain != 0
    if not told.any():
        raise TooFewOutcomes("no outcome tells the two models apart")
    rng = np.random.default_rng(seed)
    x, won = vectors[told].astype(float), (gain[told] > 0).astype(float)
    dim = x.shape[1]
    # The starting scales of torch's Embedding and Linear layers, which the original uses.
    models = rng.standard_normal((2, _FACTORS))
    project = rng.uniform(-1, 1, (_FACTORS, dim)) / np.sqrt(dim)
    head = rng.uniform(-1, 1, _FACTORS) / np.sqrt(_FACTORS)
    adam = _Adam([models, project, head])
    for _ in range(_EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x), _BATCH):
            rows = order[start : start + _BATCH]
            # The original's vectors have 1,536 dimensions; per dimension ours are larger, the noise is the
            # same share.
            noisy = x[rows] + rng.standard_normal((len(rows), dim)) * (_NOISE / np.sqrt(dim))
            norms = np.linalg.norm(models, axis=1, keepdims=True)
            unit = models / norms
            apart = unit[0] - unit[1]
            hidden = noisy @ project.T
            error = (1 / (1 + np.exp(-hidden @ (apart * head))) - won[rows]) / len(rows)
            summed = error @ hidden
            to_apart = summed * head
            to_unit = np.stack([to_apart, -to_apart])
            to_models = (to_unit - unit * (to_unit * unit).sum(1, keepdims=True)) / norms
            adam.step([to_models, np.outer(apart * head, error @ noisy), summed * apart])
    unit = models / np.linalg.norm(models, axis=1, keepdims=True)
    return Factorised(Linear(0.0, tuple((((unit[0] - unit[1]) * head) @ project).tolist())))


class _Adam:
    """Kingma and Ba, 2015, with L2 decay in the gradient; changes its parameters in place."""

    def __init__(self, parameters: list[Array]) -> None:
        self._parameters = parameters
        self._first = [np.zeros_like(p) for p in parameters]
        self._second = [np.zeros_like(p) for p in parameters]
        self._steps = 0

    def step(self, slopes: list[Array]) -> None:
        self._steps += 1
        for p, slope, first, second in zip(self._parameters, slopes, self._first, self._second, strict=True):
            slope = slope + _DECAY * p
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            unbiased = second / (1 - 0.999**self._steps)
            p -= _RATE * first / (1 - 0.9**self._steps) / (np.sqrt(unbiased) + 1e-8)
