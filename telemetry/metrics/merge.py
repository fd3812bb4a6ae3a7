"""Adds up the metrics of several processes, each of which counts on a registry of its own.

prometheus-client's multiprocess mode shares memory-mapped files instead: it knows no collector of one's own
(`CounterOf`), every update writes to a file, and files of dead processes stay behind. Here nothing is shared
until someone scrapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

_CREATED = "_created"
_CUMULATIVE = ("counter", "histogram")

SampleKey = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Family:
    """The samples of one metric: by name and sorted labels."""

    name: str
    documentation: str
    kind: str
    samples: dict[SampleKey, float]


Snapshot = Sequence[Family]
"""Everything that one process has counted, or several together."""


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """Return what a registry holds now, in a form that can be sent to another process."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in metric.samples},
        )
        for metric in registry.collect()
    ]


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sums. The time since when something is counted is the earliest one."""
    merged: dict[str, Family] = {}
    for families in snapshots:
        for family in families:
            into = merged.setdefault(
                family.name, Family(family.name, family.documentation, family.kind, {})
            ).samples
            for key, value in family.samples.items():
                if key not in into:
                    into[key] = value
                elif key[0].endswith(_CREATED):
                    into[key] = min(into[key], value)
                else:
                    into[key] += value
    return list(merged.values())


def cumulative(families: Snapshot) -> Snapshot:
    """Return what must never go backwards: what stays counted when the process that counted it has died."""
    return [family for family in families if family.kind in _CUMULATIVE]


def render_snapshot(families: Snapshot, accept: str) -> tuple[bytes, str]:
    """Return body and content type of a scrape, in the format that `accept` asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(families))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Snapshot(Collector):
    def __init__(self, families: Snapshot) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.documentation, family.kind)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric
