"""docs/telemetry.md names what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from telemetry.metrics import EngineMetrics, GatewayMetrics
from telemetry.metrics.base import render

PAGE = Path(__file__).resolve().parents[2] / "docs" / "telemetry.md"


def exposed(registry: CollectorRegistry) -> set[str]:
    families = text_string_to_metric_families(render(registry, "")[0].decode())
    # `_created` holds when each series began: the client library adds it by itself.
    kept = [family for family in families if not family.name.endswith("_created")]
    return {family.name + "_total" * (family.type == "counter") for family in kept}


@pytest.mark.parametrize(
    ("registry", "prefix"),
    [
        (GatewayMetrics(spans_dropped=lambda: 0).registry, ""),
        (
            EngineMetrics(
                running=lambda: 0,
                waiting=lambda: 0,
                kv_usage=lambda: 0,
                prefix_queries=lambda: 0,
                prefix_hits=lambda: 0,
                preemptions=lambda: 0,
                spans_dropped=lambda: 0,
            ).registry,
            "forebay_engine_",
        ),
    ],
)
def test_every_metric_is_on_the_page(registry: CollectorRegistry, prefix: str) -> None:
    page = PAGE.read_text()
    assert {name for name in exposed(registry) if f"`{name.removeprefix(prefix)}`" not in page} == set()
