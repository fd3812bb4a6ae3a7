"""The factorisation learns which queries a model wins."""

from __future__ import annotations

import numpy as np
import pytest

from router.errors import TooFewOutcomes
from router.fit.factorization import fit_factorization


def test_it_learns_a_direction_and_passes_over_ties() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gain = np.sign(vectors[:, 0]) * (np.abs(vectors[:, 0]) > 0.1)

    model = fit_factorization(vectors[:400], gain[:400])
    chances = np.array([model(vector.tolist()) for vector in vectors[400:]])
    told = gain[400:] != 0

    assert ((chances > 0.5) == (gain[400:] > 0))[told].mean() > 0.85


def test_the_same_seed_gives_the_same_model() -> None:
    vectors = np.eye(8, dtype=np.float32)
    gain = np.array([1.0, -1.0] * 4)

    assert fit_factorization(vectors, gain) == fit_factorization(vectors, gain)


def test_without_a_difference_there_is_nothing_to_learn() -> None:
    with pytest.raises(TooFewOutcomes):
        fit_factorization(np.eye(3, dtype=np.float32), np.zeros(3))
