"""The verifier: a small network that compares two questions token by token.

Each token looks for its like in the other text by soft attention in a learned space; what differs between
the two goes through a small layer, is pooled over both texts, and is joined by how well the worst-matched
stretches of either text are covered (a lost premise is a stretch that nothing on the other side is like).
Symmetric in the two texts. Attention and comparison after Parikh et al., "A Decomposable Attention Model"
(2016).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semantic_cache.decision.base import Encoding
from semantic_cache.decision.tokens import Side, sides
from semantic_cache.gates.text import Text

Array = NDArray[np.float32]
EMBEDDER = "7ec90ad28148"
"""Digest, in an embedder's id, of the model whose states verifier and calibration were fitted to."""
WINDOWS = (1, 3, 6)
COVERAGE = 2 * (2 + len(WINDOWS)) * 2 + 3
SHARPNESS = np.float32(12.0)


def reads(embedder: str) -> bool:
    """Return whether the shipped weights were trained on the states of this embedder (its id)."""
    return EMBEDDER in embedder.split(":")


class Verifier:
    """The trained network. `id` names its weights and the embedder that they were trained on."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], id_: str) -> None:
        self.id = id_
        self.weights = weights

    @classmethod
    def load(cls, path: Path | None = None) -> Verifier:
        """Read the shipped weights, or those at `path`. Raises OSError or KeyError if they are unusable."""
        source = path or Path(str(files("semantic_cache.decision"))) / "verifier.npz"
        with np.load(source, allow_pickle=False) as stored:
            weights = {name: stored[name].astype(np.float32) for name in stored.files if name != "id"}
            return cls(weights, str(stored["id"]))

    def score(self, a: Text, b: Text, encoding_a: Encoding, encoding_b: Encoding) -> float | None:
        """Return the log-odds that the two ask the same; None if it abstains."""
        pair = sides(a, b, encoding_a, encoding_b)
        if pair is None or pair[0].states.shape[1] != self.weights["find"].shape[0]:
            return None
        cosine = float(encoding_a.vector @ encoding_b.vector)
        value = self._run(*pair, cosine)
        return value if np.isfinite(value) else None

    def _run(self, a: Side, b: Side, cosine: float) -> float:
        w = self.weights
        find_a, find_b = _unit(a.states @ w["find"]), _unit(b.states @ w["find"])
        like_a, like_b = a.states @ w["like"], b.states @ w["like"]
        near = find_a @ find_b.T
        plain = a.states @ b.states.T
        hidden_a = self._compare(like_a, _softmax(near * SHARPNESS) @ like_b, a.flags)
        hidden_b = self._compare(like_b, _softmax(near.T * SHARPNESS) @ like_a, b.flags)
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
    rows = [_covered(alike.max(1)), _covered(alike.max(0))]
    return np.concatenate([np.minimum(*rows), np.maximum(*rows)])


def _covered(best: Array) -> Array:
    sums = np.concatenate([np.zeros(1, np.float32), np.cumsum(best, dtype=np.float32)])
    out = [best.mean(), np.sort(best)[: max(1, len(best) // 5)].mean()]
    for width in WINDOWS:
        size = min(width, len(best))
        out.append(((sums[size:] - sums[:-size]) / size).min())
    return np.array(out, np.float32)


def _unit(x: Array) -> Array:
    out: Array = x / (np.linalg.norm(x, axis=1, keepdims=True) + np.float32(1e-6))
    return out


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    out: Array = e / e.sum(1, keepdims=True)
    return out
