"""What a topic's past outcomes say of its next one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TopicMeans:
    """Means by topic, drawn towards the mean of all as if `strength` more outcomes had that."""

    overall: float
    sums: Mapping[str, tuple[float, int]]
    strength: float

    def __call__(self, topic: str | None) -> float:
        """Return the expected outcome; the mean of all for a topic that is not known."""
        total, count = self.sums.get(topic or "", (0.0, 0))
        return (total + self.strength * self.overall) / (count + self.strength)


def fit_topics(topics: Sequence[str | None], values: Sequence[float], strength: float = 10.0) -> TopicMeans:
    """Return the means of `values`, of which there is at least one."""
    sums: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for topic, value in zip(topics, values, strict=True):
        total, count = sums[topic or ""]
        sums[topic or ""] = (total + value, count + 1)
    return TopicMeans(sum(values) / len(values), dict(sums), strength)
