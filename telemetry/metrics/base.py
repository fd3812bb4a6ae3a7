"""What both sets of metrics share: rendering, bounded label values, counters that live elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

OTHER = "other"

# Powers of two from 0.25 ms to 131 s: one series serves a cache hit and a long answer.
LATENCY_BUCKETS = tuple(0.00025 * 2**power for power in range(20))
# What the gateway adds to a request: 0.25 ms is the finest step that is worth telling apart.
OVERHEAD_BUCKETS = (0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
# Tiny models make a token in under a millisecond; vLLM's first bucket is 10 ms.
FINE_TOKEN_BUCKETS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.006, 0.008)
TOKEN_BUCKETS = (
    *FINE_TOKEN_BUCKETS,
    0.01,
    0.015,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    1.0,
    2.5,
    5.0,
)
# vLLM's steps, 1-2-5, up to the longest windows served here.
LENGTH_BUCKETS = tuple(step * 10**power for power in range(5) for step in (1, 2, 5))
ITERATION_TOKEN_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


M = TypeVar("M", Counter, Histogram)


class Children(Generic[M]):
    """A labelled metric whose children are looked up once: `labels()` locks and converts on every call."""

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: M) -> None:
        self._metric: M = metric
        self._children: dict[tuple[str, ...], M] = {}

    def of(self, *labels: str) -> M:
        """Return the child with these label values."""
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child


class LabelValues:
    """The first `limit` distinct values pass; later ones become `other`.

    Clients choose model names: without a bound, any of them could fill our memory with time series.
    """

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def bound(self, value: str) -> str:
        """Return the label to use for `value`."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._limit or len(value) > 128:
            return OTHER
        self._seen.add(value)
        return value


class CounterOf(Collector):
    """A counter whose value is kept by someone else and read when metrics are scraped."""

    def __init__(self, name: str, documentation: str, read: Callable[[], int]) -> None:
        self._name = name
        self._documentation = documentation
        self._read = read

    def describe(self) -> Iterable[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._documentation)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._documentation, value=self._read())


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return body and content type of a scrape, in the format that `accept` asks for."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
