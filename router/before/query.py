"""How much the large tier would probably add, from the query alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.before.linear import Linear
from router.before.neighbours import neighbours_mean
from router.before.topics import TopicMeans
from router.logistic import Logistic


@dataclass(frozen=True, slots=True)
class Query:
    """What is known of a query. Without a vector it is judged by its topic and its signs."""

    topic: str | None = None
    signs: Mapping[str, float] = field(default_factory=dict)
    vector: Sequence[float] | None = None
    """Of unit length."""
    neighbours: Sequence[tuple[float, float]] = ()
    """(cosine, gain) of the nearest past queries."""


@dataclass(frozen=True, slots=True)
class QueryModel:
    """Scores queries; the higher, the more the large tier should add. Only the order has a meaning.

    The score is a sum of three probabilities that err in different ways: the topic's mean gain, the
    neighbours' mean gain (both rare and noisy, but what is wanted), and how likely the small tier fails
    (often, and so learned well).
    """

    topic_gain: TopicMeans
    small_fails: Linear | None
    """From the vector; None if it was learned without vectors, then `signs_fail` is there."""
    signs_fail: Logistic | None
    width: float = 0.1
    strength: float = 1.0

    def score(self, query: Query) -> float:
        """Return the score of a query."""
        gain = self.topic_gain(query.topic)
        if self.small_fails is not None and query.vector is not None:
            near = neighbours_mean(
                query.neighbours, self.topic_gain.overall, width=self.width, strength=self.strength
            )
            return gain + near + self.small_fails(query.vector)
        return gain if self.signs_fail is None else gain + self.signs_fail.probability(query.signs)
