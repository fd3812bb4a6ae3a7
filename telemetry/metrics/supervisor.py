"""What the supervisor of the gateway's workers counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from telemetry import names


class SupervisorMetrics:
    """Counted in the one process that no worker's death takes away."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.workers = Gauge(names.M_WORKERS, "Workers that accept connections now.", registry=self.registry)
        self.restarts = Counter(
            names.M_WORKER_RESTARTS, "Workers that ended and were replaced.", registry=self.registry
        )
        self.semantic_restarts = Counter(
            names.M_SEMANTIC_RESTARTS,
            "Semantic processes that ended and were started again.",
            registry=self.registry,
        )
        self.reloads = Counter(
            names.M_CONFIG_RELOADS,
            "Configurations that were read while running, by what became of them.",
            ("result",),
            registry=self.registry,
        )
