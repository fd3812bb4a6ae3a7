"""Learns a `QueryModel` from outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from router.before.linear import Linear
from router.before.neighbours import NEAREST
from router.before.query import Query, QueryModel
from router.before.topics import fit_topics
from router.fit.folds import Rows, unseen_scores
from router.fit.logistic import fit_logistic
from router.outcomes import Outcome


class QueryOutcomes:
    """Outcomes beside what was known of their queries; rows of it are what models learn from and score."""

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        signs: Sequence[Mapping[str, float]],
        vectors: NDArray[np.float32] | None,
    ) -> None:
        """vectors: [outcomes, dim] of unit length, or None."""
        self._signs = signs
        self._vectors = vectors
        self._topics = [outcome.topic for outcome in outcomes]
        self._gain = np.array([outcome.gain for outcome in outcomes], dtype=float)
        self._fails = np.array([not outcome.weak_right for outcome in outcomes], dtype=float)

    def fit(self, rows: Rows) -> QueryModel:
        """Return the model of some rows."""
        topic_gain = fit_topics([self._topics[row] for row in rows], self._gain[rows].tolist())
        if self._vectors is not None:
            return QueryModel(topic_gain, fit_ridge(self._vectors[rows], self._fails[rows]), None)
        fails = [bool(self._fails[row]) for row in rows]
        if len(set(fails)) < 2:
            return QueryModel(topic_gain, None, None)
        return QueryModel(topic_gain, None, fit_logistic([self._signs[row] for row in rows], fails))

    def scores(self, model: QueryModel, past: Rows, rows: Rows) -> NDArray[np.float64]:
        """Score `rows` by a model and their neighbours among `past`."""
        if self._vectors is None:
            return np.array([model.score(Query(self._topics[row], self._signs[row])) for row in rows])
        cosines = self._vectors[rows] @ self._vectors[past].T
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
        found = []
        for number, row in enumerate(rows):
            near = nearest[number]
            neighbours = list(
                zip(cosines[number, near].tolist(), self._gain[past[near]].tolist(), strict=True)
            )
            query = Query(self._topics[row], self._signs[row], self._vectors[row].tolist(), neighbours)
            found.append(model.score(query))
        return np.array(found)

    def unseen(self, past: Rows, parts: Sequence[Rows]) -> NDArray[np.float64]:
        """Score the rows of `past` by models that have not seen them; `parts` hold places within `past`."""

        def fit(places: Rows) -> Callable[[Rows], list[float]]:
            model = self.fit(past[places])
            return lambda others: self.scores(model, past[places], past[others]).tolist()

        return unseen_scores(fit, parts)


def fit_ridge(vectors: NDArray[np.float32], values: NDArray[np.float64], penalty: float = 50.0) -> Linear:
    """Return the linear map from vectors [rows, dim] to values [rows]; the mean is not penalised."""
    centre, mean = vectors.mean(axis=0, dtype=float), float(values.mean())
    x = vectors - centre
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (values - mean))
    return Linear(mean - float(centre @ weights), tuple(weights.tolist()))
