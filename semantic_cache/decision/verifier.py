"""The verifier: a small network that compares two questions token by token.

Each token looks for its like in the other text by soft attention in a learned space; what differs between
the two goes through a small layer, is pooled over both texts, and is joined by how well the worst-matched
stretches of either text are covered (a lost premise is a stretch that nothing on the other side is like).
Symmetric in the two texts. Attention and comparison after Parikh et al., "A Decomposable Attention Model"
(2016).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semantic_cache.decision.base import Encoding
from semantic_cache.decision.tokens import Reading, facing, read
from semantic_cache.gates.text import Text

Array = NDArray[np.float32]
EMBEDDER = "7ec90ad28148"
"""Digest, in an embedder's id, of the model whose states verifier and calibration were fitted to."""
WINDOWS = (1, 3, 6)
COVERAGE = 2 * (2 + len(WINDOWS)) * 2 + 3
SHARPNESS = np.float32(12.0)
READINGS = 128
"""Texts whose half of the work is remembered: a question meets several candidates, a popular entry many
questions."""


def reads(embedder: str) -> bool:
    """Return whether the shipped weights were trained on the states of this embedder (its id)."""
    return EMBEDDER in embedder.split(":")


@dataclass(frozen=True, slots=True)
class _Projected:
    """A text in the network's own spaces; `encoding` is kept so that no other object takes its identity."""

    encoding: Encoding
    reading: Reading
    find: Array
    like: Array


class Verifier:
    """The trained network. `id` names its weights and the embedder that they were trained on."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], id_: str) -> None:
        self.id = id_
        self.weights = weights
        self._projected: OrderedDict[tuple[int, int], _Projected] = OrderedDict()

    @classmethod
    def load(cls, path: Path | None = None) -> Verifier:
        """Read the shipped weights, or those at `path`. Raises OSError or KeyError if they are unusable."""
        source = path or Path(str(files("semantic_cache.decision"))) / "verifier.npz"
        with np.load(source, allow_pickle=False) as stored:
            weights = {name: stored[name].astype(np.float32) for name in stored.files if name != "id"}
            return cls(weights, str(stored["id"]))

    def score(self, a: Text, b: Text, encoding_a: Encoding, encoding_b: Encoding) -> float | None:
        """Return the log-odds that the two ask the same; None if it abstains."""
        one = self._project(a, encoding_a)
        other = None if one is None else self._project(b, encoding_b)
        if one is None or other is None:
            return None
        cosine = float(encoding_a.vector @ encoding_b.vector)
        value = self._run(one, other, cosine)
        return value if isfinite(value) else None

    def _project(self, text: Text, encoding: Encoding) -> _Projected | None:
        where = id(text), id(encoding)
        known = self._projected.get(where)
        if known is not None:
            self._projected.move_to_end(where)
            return known
        reading = read(text, encoding)
        w = self.weights
        if reading is None or reading.states.shape[1] != w["find"].shape[0]:
            return None
        known = _Projected(encoding, reading, _unit(reading.states @ w["find"]), reading.states @ w["like"])
        self._projected[where] = known
        if len(self._projected) > READINGS:
            self._projected.popitem(last=False)
        return known

    def _run(self, one: _Projected, other: _Projected, cosine: float) -> float:
        w = self.weights
        a, b = facing(one.reading, other.reading)
        near = one.find @ other.find.T
        plain = a.states @ b.states.T
        hidden_a = self._compare(one.like, _softmax(near * SHARPNESS) @ other.like, a.flags)
        hidden_b = self._compare(other.like, _softmax(near.T * SHARPNESS) @ one.like, b.flags)
        covered = np.concatenate([coverage(plain), coverage(near)])
        total = np.log(np.float32(len(a.states) + len(b.states)))
        ratio = abs(np.log(np.float32(len(a.states) / len(b.states))))
        joined = np.concatenate(
            [
                hidden_a.mean(0) + hidden_b.mean(0),
                np.maximum(hidden_a.max(0), hidden_b.max(0)),
                covered,
                np.array([cosine, total, ratio], np.float32),
            ]
        )
        joined = (joined - w["mean"]) / w["scale"]
        out = np.maximum(joined @ w["wide"] + w["wide_bias"], 0) @ w["out"] + w["out_bias"]
        return float(out[0])

    def _compare(self, own: Array, other: Array, flags: Array) -> Array:
        both = np.concatenate([np.abs(own - other), own * other, flags], axis=1)
        out: Array = np.maximum(both @ self.weights["compare"] + self.weights["compare_bias"], np.float32(0))
        return out


def coverage(alike: Array) -> Array:
    """Say how well the tokens of each text are matched in the other, the worse text first.

    `alike`: [n, m] cosines. For each text: mean, least, and mean over the worst stretch of each length in
    WINDOWS.
    """
    one, other = _covered(alike.max(1)), _covered(alike.max(0))
    return np.array([*map(min, one, other), *map(max, one, other)], np.float32)


def _covered(best: Array) -> list[np.float32]:
    # Reductions by their ufuncs: the arrays are so short that numpy's wrappers would take most of the time.
    count = len(best)
    worst = np.sort(best)[: max(1, count // 5)]
    sums = np.zeros(count + 1, np.float32)
    np.add.accumulate(best, out=sums[1:])
    out = [np.add.reduce(best) / np.float32(count), np.add.reduce(worst) / np.float32(len(worst))]
    for width in WINDOWS:
        size = min(width, count)
        out.append(np.minimum.reduce(sums[size:] - sums[:-size]) / np.float32(size))
    return out


def _unit(x: Array) -> Array:
    out: Array = x / (np.linalg.norm(x, axis=1, keepdims=True) + np.float32(1e-6))
    return out


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    out: Array = e / e.sum(1, keepdims=True)
    return out
