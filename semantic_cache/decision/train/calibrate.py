"""Fits the shipped calibration on pairs that the verifier was not trained on and that all gates let
through."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from semantic_cache.decision.bounds import upper_bound
from semantic_cache.decision.calibration import Calibration
from semantic_cache.decision.features import NAMES, features
from semantic_cache.decision.train.pairs import Pair
from semantic_cache.decision.train.reference_embedder import EncodedTexts
from semantic_cache.decision.verifier import Verifier
from semantic_cache.gates.checks import check
from semantic_cache.gates.text import parse

RIDGE = 1.0
RUNGS = 60
PASSED = 0.9


def fit(
    verifier: Verifier,
    pairs: Sequence[Pair],
    texts: Sequence[str],
    encoded: EncodedTexts,
    say: Callable[[str], None],
) -> Calibration:
    """Fit the logistic, and build the ladder from scores that left each pair's own fold out."""
    rows, labels = measured(verifier, pairs, texts, encoded)
    say(f"calibration: {len(labels)} pairs pass the gates, {int((1 - labels).sum())} of them different")
    fold = np.arange(len(labels)) % 5
    scores = np.empty(len(labels))
    for part in range(5):
        weights = logistic(rows[fold != part], labels[fold != part])
        scores[fold == part] = rows[fold == part] @ weights[1:] + weights[0]
    weights = logistic(rows, labels)
    rungs, bounds = ladder(scores, labels)
    for budget in (0.005, 0.01, 0.02, 0.05):
        fit_in = [rung for rung, bound in zip(rungs, bounds, strict=True) if bound <= budget]
        share = float((scores[labels > 0] >= fit_in[0]).mean()) if fit_in else 0.0
        cut = fit_in[0] if fit_in else None
        say(f"budget {budget}: score from {cut}, recall {share:.3f} of what passes the gates")
    digest = hashlib.sha256(weights.tobytes() + verifier.id.encode()).hexdigest()[:12]
    return Calibration(
        id=f"{verifier.id}/{digest}",
        intercept=round(float(weights[0]), 5),
        weights={name: round(float(w), 5) for name, w in zip(NAMES, weights[1:], strict=True)},
        rungs=tuple(rungs),
        bounds=tuple(bounds),
    )


def measured(
    verifier: Verifier, pairs: Sequence[Pair], texts: Sequence[str], encoded: EncodedTexts
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return features [n, features] and labels [n] of the pairs that gates and verifier judge."""
    place = {text: row for row, text in enumerate(texts)}
    rows, labels = [], []
    for pair in pairs:
        # Neighbours have the labels of their intents, too rough to tell mistakes of one in a hundred.
        if pair.kind.startswith("neighbour") or pair.a == pair.b or not check(pair.a, pair.b)[-1].passed:
            continue
        one, other = encoded[place[pair.a]], encoded[place[pair.b]]
        a, b = parse(pair.a), parse(pair.b)
        said = verifier.score(a, b, one, other)  # type: ignore[arg-type]
        if said is not None:
            rows.append(features(a, b, verifier=said, cosine=float(one.vector @ other.vector)))
            labels.append(float(pair.same))
    return np.array(rows), np.array(labels)


def with_passages(calibration: Calibration, scores: NDArray[np.float64], budget: float = 0.01) -> Calibration:
    """Return a calibration whose passages are shifted so that PASSED of the rephrased ones reach a budget's
    rung.

    `scores`: of real rephrased passages that the gates let through. Real ones are reworded far more freely
    than generated ones, so the logistic takes them for different; what of passages may pass at all is the
    gates' work (numbers, names, nothing verbatim but for one place), and the benchmark counts their
    mistakes by kind.
    """
    rung = next(
        rung for rung, bound in zip(calibration.rungs, calibration.bounds, strict=True) if bound <= budget
    )
    shift = max(0.0, rung - float(np.quantile(scores, 1 - PASSED)))
    weights = {**calibration.weights, "passage": round(calibration.weights["passage"] + shift, 5)}
    digest = hashlib.sha256(repr(sorted(weights.items())).encode()).hexdigest()[:12]
    name = calibration.id.rpartition("/")[0]
    return msgspec.structs.replace(calibration, weights=weights, id=f"{name}/{digest}")


def logistic(rows: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return intercept and weights by Newton's method with a ridge on standardised features."""
    mean, scale = rows.mean(0), rows.std(0) + 1e-6
    x = np.column_stack([np.ones(len(rows)), (rows - mean) / scale])
    ridge = np.diag([0.0] + [RIDGE] * rows.shape[1])
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (labels - p) - ridge @ w
        curvature = (x * (p * (1 - p))[:, None]).T @ x + ridge + 1e-9 * np.eye(len(w))
        step = np.linalg.solve(curvature, gradient)
        w += step * min(1.0, 5.0 / (np.abs(step).max() + 1e-9))
        if np.abs(step).max() < 1e-8:
            break
    weights = w[1:] / scale
    return np.concatenate([[w[0] - weights @ mean], weights])


def ladder(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Return rising scores, and from each on the 95% upper bound of the share of wrong pairs; it never
    rises."""
    order = np.argsort(-scores)
    wrong = np.cumsum(1 - labels[order]).astype(int)
    rungs: list[float] = []
    bounds: list[float] = []
    least = 1.0
    # From the top down a bound falls while pairs agree and rises with mistakes; higher scores are no worse,
    # so the bound of a score is the least of those at or below it.
    counts = np.unique(np.linspace(20, len(order), RUNGS).astype(int))
    for count in counts[::-1]:
        bound = upper_bound(int(wrong[count - 1]), int(count))
        if bound < least:
            least = bound
            rungs.append(round(float(scores[order[count - 1]]), 4))
            bounds.append(round(bound, 5))
    return rungs, bounds
