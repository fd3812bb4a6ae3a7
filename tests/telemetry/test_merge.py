from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from telemetry.metrics.merge import Snapshot, cumulative, merge, render_snapshot, snapshot


def worker(count: int) -> Snapshot:
    registry = CollectorRegistry(auto_describe=False)
    counter = Counter("c", "Counted.", ("label",), registry=registry)
    counter.labels("both").inc(count)
    counter.labels(f"only-{count}").inc()
    Gauge("g", "Now.", registry=registry).set(count)
    histogram = Histogram("h", "Seconds.", buckets=(1, 10), registry=registry)
    for value in range(count):
        histogram.observe(value)
    return snapshot(registry)


def samples(families: Snapshot) -> dict[tuple[str, str], float]:
    text, _ = render_snapshot(families, "text/plain")
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_histograms_and_gauges_are_added_up() -> None:
    merged = samples(merge([worker(2), worker(5)]))
    assert merged["c_total", "both"] == 7
    assert merged["c_total", "only-2"] == merged["c_total", "only-5"] == 1
    assert merged["g", ""] == 7
    assert merged["h_count", ""] == 7 and merged["h_sum", ""] == 1 + 10
    assert merged["h_bucket", "1.0"] == 4 and merged["h_bucket", "+Inf"] == 7


def test_what_is_counted_since_when_is_the_earliest_time() -> None:
    first, second = worker(1), worker(1)
    merged = samples(merge([second, first]))
    assert merged["c_created", "both"] == samples(first)["c_created", "both"]


def test_the_dead_keep_their_counts_but_do_nothing_now() -> None:
    merged = samples(merge([cumulative(worker(3)), worker(1)]))
    assert merged["c_total", "both"] == 4 and merged["h_count", ""] == 4
    assert merged["g", ""] == 1


def test_both_formats_are_spoken() -> None:
    body, content_type = render_snapshot(worker(1), "application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n") and content_type.startswith("application/openmetrics-text")
