"""How long a step takes, fitted to the steps that were measured.

A chunk of a prompt that joins a step makes every decoding sequence wait for it. How many tokens are a long
wait depends on machine, model, threads, batch and context, so no constant is right: a linear model of the
step's time is fitted to the latest steps and asked instead. Steps are not quite linear, and a long prompt
leads where none was measured yet, so what it says of a step with prompt tokens is corrected by how far the
latest of those were off.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_WINDOW = 64
"""Steps of each sort that are remembered: enough to average out noise, few enough to follow the machine."""
_REFIT_EVERY = 8
_LATEST = 5
"""Steps with prompt tokens whose median says how far off the model is: one that was held up does not."""
_SWEEPS = 100
_MOST_DELAY = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a step computes, in the quantities that its time is linear in."""

    steps: int = 1
    sequences: int = 0
    tokens: int = 0
    context: int = 0
    """Tokens whose KV is read: the sequences' contexts, added up."""
    scores: int = 0
    """Pairs of a query and a key: what attention computes."""

    def plus(self, computed: int, tokens: int) -> Load:
        """Return this load with one more sequence, which computes `tokens` tokens after `computed`."""
        return Load(
            self.steps,
            self.sequences + 1,
            self.tokens + tokens,
            self.context + computed + tokens,
            self.scores + tokens * computed + tokens * (tokens + 1) // 2,
        )

    @classmethod
    def of(cls, pieces: Iterable[tuple[int, int]]) -> Load:
        """Return the load of `(computed, tokens)` of every sequence of a step."""
        load = cls()
        for computed, tokens in pieces:
            load = load.plus(computed, tokens)
        return load


def _amounts(load: Load) -> tuple[int, int, int, int, int]:
    return load.steps, load.sequences, load.tokens, load.context, load.scores


class StepTime:
    """A model of the seconds a step takes, with no coefficient below zero.

    Steps with and without prompt tokens are remembered apart: an hour of decoding must not wash out
    what prompts cost. Errors count in proportion to the step's expected time, and a step that was held
    up by another process counts as one of `_MOST_DELAY` times that.
    """

    def __init__(self) -> None:
        self._decodes: deque[tuple[Load, float]] = deque(maxlen=_WINDOW)
        self._mixed: deque[tuple[Load, float]] = deque(maxlen=_WINDOW)
        self._coefficients: tuple[float, ...] | None = None
        self._unfitted = 0
        self._off = 1.0
        """What the latest steps with prompt tokens took over what the model says."""

    def observe(self, load: Load, seconds: float) -> None:
        """Remember that a step of `load` took `seconds`."""
        if load.tokens == 0 or seconds <= 0:
            return
        only_decodes = load.tokens == load.sequences
        (self._decodes if only_decodes else self._mixed).append((load, seconds))
        self._unfitted += 1
        if self.fitted and (self._coefficients is None or self._unfitted >= _REFIT_EVERY):
            self._coefficients = self._fit()
            self._unfitted = 0
        if self._coefficients is not None and not only_decodes:
            latest = list(self._mixed)[-_LATEST:]
            self._off = statistics.median(measured / self._linear(load) for load, measured in latest)

    @property
    def fitted(self) -> bool:
        """Whether both sorts of steps have been seen, without which `seconds` means nothing."""
        return len(self._decodes) >= 2 and len(self._mixed) >= 2

    def seconds(self, load: Load) -> float:
        """Return the time that a step of `load` should take; needs `fitted`."""
        return self._linear(load) * (1.0 if load.tokens == load.sequences else self._off)

    def tokens_within(self, seconds: float, load: Load, computed: int, wanted: int) -> int:
        """Return how many of `wanted` tokens after `computed` may join `load` for a step of `seconds`."""
        low, high = 0, wanted
        while low < high:
            middle = (low + high + 1) // 2
            if self.seconds(load.plus(computed, middle)) <= seconds:
                low = middle
            else:
                high = middle - 1
        return low

    def _linear(self, load: Load) -> float:
        assert self._coefficients is not None
        return sum(
            coefficient * amount
            for coefficient, amount in zip(self._coefficients, _amounts(load), strict=True)
        )

    def _fit(self) -> tuple[float, ...]:
        """Fit twice: errors over measured times favour short steps, so then over the fitted times."""
        steps = [*self._decodes, *self._mixed]
        amounts = np.array([_amounts(load) for load, _ in steps], dtype=np.float64)
        measured = np.array([seconds for _, seconds in steps])
        expected = amounts @ _solve(amounts / measured[:, None], np.ones(len(steps)))
        relative = np.minimum(measured / expected, _MOST_DELAY)
        return tuple(float(value) for value in _solve(amounts / expected[:, None], relative))


def _solve(rows: Array, target: Array) -> Array:
    """Return the non-negative x that minimises |rows x - target|, by coordinate descent."""
    scale = np.maximum(np.sqrt((rows**2).sum(axis=0)), 1e-12)
    gram = (rows / scale).T @ (rows / scale)
    wanted = (rows / scale).T @ target
    solution: Array = np.zeros(len(scale))
    for _ in range(_SWEEPS):
        for at in range(len(solution)):
            rest = gram[at] @ solution - gram[at, at] * solution[at]
            solution[at] = max(0.0, (wanted[at] - rest) / max(gram[at, at], 1e-12))
    solution /= scale
    return solution
