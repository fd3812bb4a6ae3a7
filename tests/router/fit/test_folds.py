"""No row is scored by a model that has seen it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from router.fit.folds import Rows, folds, unseen_scores


def test_the_parts_hold_every_row_once() -> None:
    parts = folds(17, 5, 3)

    assert sorted(np.concatenate(parts).tolist()) == list(range(17))
    assert {len(part) for part in parts} == {3, 4}


def test_every_row_is_scored_by_a_model_without_it() -> None:
    def fit(rows: Rows) -> Callable[[Rows], list[float]]:
        seen = set(rows.tolist())
        return lambda others: [float(row in seen) for row in others.tolist()]

    assert unseen_scores(fit, folds(17, 5, 3)).sum() == 0
