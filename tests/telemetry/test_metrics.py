"""What a scrape shows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from prometheus_client.parser import text_string_to_metric_families

from telemetry import names
from telemetry.metrics import EngineMetrics, GatewayMetrics
from telemetry.metrics.gateway import MAX_MODELS


def samples(body: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(metrics: GatewayMetrics | EngineMetrics, name: str, **labels: str) -> float:
    return samples(metrics.render()[0])[name, frozenset(labels.items())]


def engine_metrics(state: Mapping[str, float] = MappingProxyType({})) -> EngineMetrics:
    return EngineMetrics(
        running=lambda: state.get("running", 0),
        waiting=lambda: state.get("waiting", 0),
        kv_usage=lambda: state.get("kv_usage", 0),
        prefix_queries=lambda: int(state.get("prefix_queries", 0)),
        prefix_hits=lambda: int(state.get("prefix_hits", 0)),
        preemptions=lambda: int(state.get("preemptions", 0)),
    )


def test_a_request_counts_in_every_view_of_it() -> None:
    metrics = GatewayMetrics()
    chat = {"route": "/v1/chat/completions", "model": "smollm2"}
    metrics.request(**chat, status=200, duration_s=0.3, overhead_s=0.0004, first_byte_s=0.1)
    metrics.request(**chat, status=200, duration_s=0.3)
    assert value(metrics, "forebay_requests_total", **chat, status="200") == 2
    assert value(metrics, "forebay_request_duration_seconds_count", **chat) == 2
    assert value(metrics, "forebay_time_to_first_byte_seconds_count", **chat) == 1
    # The overhead's finest bucket ends at a quarter of a millisecond.
    assert value(metrics, "forebay_overhead_seconds_bucket", route=chat["route"], le="0.00025") == 0
    assert value(metrics, "forebay_overhead_seconds_bucket", route=chat["route"], le="0.0005") == 1


def test_tokens_cost_errors_and_requests_in_flight() -> None:
    metrics = GatewayMetrics()
    metrics.usage(model="large", input_tokens=100, output_tokens=20, cached_tokens=60, cost_usd=0.5)
    metrics.upstream_error("openai", names.CONNECT_TIMEOUT)
    metrics.in_flight += 1
    assert value(metrics, "forebay_tokens_total", model="large", kind="input") == 100
    assert value(metrics, "forebay_tokens_total", model="large", kind="input_cached") == 60
    assert value(metrics, "forebay_tokens_total", model="large", kind="output") == 20
    assert value(metrics, "forebay_cost_usd_total", model="large") == 0.5
    assert (
        value(metrics, "forebay_upstream_errors_total", upstream="openai", error_type="connect_timeout") == 1
    )
    assert value(metrics, "forebay_requests_in_flight") == 1


def test_clients_cannot_make_series_without_end() -> None:
    metrics = GatewayMetrics()
    for number in range(MAX_MODELS + 50):
        metrics.request(route="/v1/chat/completions", model=f"model-{number}", status=404, duration_s=0.1)
    metrics.request(route="/v1/chat/completions", model="model-0", status=404, duration_s=0.1)
    metrics.request(route="/v1/chat/completions", model="x" * 10_000, status=404, duration_s=0.1)
    counted = [key for key in samples(metrics.render()[0]) if key[0] == "forebay_requests_total"]
    assert len(counted) == MAX_MODELS + 1
    route = {"route": "/v1/chat/completions", "status": "404"}
    assert value(metrics, "forebay_requests_total", model="other", **route) == 51
    assert value(metrics, "forebay_requests_total", model="model-0", **route) == 2


def test_lost_spans_are_read_when_scraped() -> None:
    lost = [3]
    metrics = GatewayMetrics(spans_dropped=lambda: lost[0])
    assert value(metrics, "forebay_trace_spans_dropped_total") == 3
    lost[0] = 5
    assert value(metrics, "forebay_trace_spans_dropped_total") == 5


def test_the_engines_gauges_are_read_when_scraped() -> None:
    state = {"running": 2.0, "waiting": 1.0, "kv_usage": 0.25, "prefix_queries": 9, "prefix_hits": 4}
    metrics = engine_metrics(state)
    state |= {"running": 3, "preemptions": 2}
    assert value(metrics, "forebay_engine_prefix_cache_queries_total") == 9
    assert value(metrics, "forebay_engine_prefix_cache_hits_total") == 4
    assert value(metrics, "forebay_engine_num_preemptions_total") == 2
    assert value(metrics, "forebay_engine_num_requests_running") == 3
    assert value(metrics, "forebay_engine_num_requests_waiting") == 1
    assert value(metrics, "forebay_engine_kv_cache_usage_perc") == 0.25


def test_a_finished_request_fills_only_the_phases_it_reached() -> None:
    metrics = engine_metrics()
    sizes = {"num_prompt_tokens": 30, "num_generated_tokens": 4}
    metrics.finished("stop", **sizes, e2e_s=1.0, queue_s=0.1, ttft_s=0.3, prefill_s=0.2, decode_s=0.7)
    metrics.finished("abort", **sizes, e2e_s=0.2, queue_s=0.2)
    assert value(metrics, "forebay_engine_prompt_tokens_total") == 60
    assert value(metrics, "forebay_engine_request_prompt_tokens_sum") == 60
    assert value(metrics, "forebay_engine_request_generation_tokens_sum") == 8
    assert value(metrics, "forebay_engine_request_generation_tokens_count") == 2
    assert value(metrics, "forebay_engine_request_success_total", finished_reason="stop") == 1
    assert value(metrics, "forebay_engine_request_success_total", finished_reason="abort") == 1
    assert value(metrics, "forebay_engine_e2e_request_latency_seconds_count") == 2
    assert value(metrics, "forebay_engine_request_queue_time_seconds_count") == 2
    for phase in ("time_to_first_token", "request_prefill_time", "request_decode_time"):
        assert value(metrics, f"forebay_engine_{phase}_seconds_count") == 1


def test_the_acceptance_length_follows_from_the_counters() -> None:
    metrics = engine_metrics()
    for accepted in (4, 0, 2):
        metrics.drafted(4, accepted)
    drafts = value(metrics, "forebay_engine_spec_decode_num_drafts_total")
    assert drafts == 3
    assert value(metrics, "forebay_engine_spec_decode_num_draft_tokens_total") == 12
    assert 1 + value(metrics, "forebay_engine_spec_decode_num_accepted_tokens_total") / drafts == 3


def test_accepted_tokens_are_counted_by_their_place_in_the_draft() -> None:
    metrics = engine_metrics()
    for accepted in (4, 0, 2):
        metrics.drafted(4, accepted)
    name = "forebay_engine_spec_decode_num_accepted_tokens_per_pos_total"
    assert [value(metrics, name, position=str(at)) for at in range(4)] == [2, 2, 1, 1]


def test_engine_names_are_vllms_after_the_prefix() -> None:
    metrics = engine_metrics()
    metrics.finished("stop", num_prompt_tokens=1, num_generated_tokens=1, e2e_s=1.0)
    exposed = {family.name for family in text_string_to_metric_families(metrics.render()[0].decode())}
    vllm = {
        "num_requests_running",
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "prefix_cache_queries",
        "prefix_cache_hits",
        "prompt_tokens",
        "generation_tokens",
        "request_success",
        "num_preemptions",
        "time_to_first_token_seconds",
        "inter_token_latency_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "iteration_tokens_total",
        "request_prompt_tokens",
        "request_generation_tokens",
        "spec_decode_num_drafts",
        "spec_decode_num_draft_tokens",
        "spec_decode_num_accepted_tokens",
        "spec_decode_num_accepted_tokens_per_pos",
    }
    assert {name.removeprefix("forebay_engine_") for name in exposed if not name.endswith("_created")} == vllm


def test_a_fast_token_is_told_from_a_very_fast_one() -> None:
    metrics = engine_metrics()
    metrics.inter_token_latency.observe(0.0007)
    metrics.inter_token_latency.observe(0.0031)
    name = "forebay_engine_inter_token_latency_seconds_bucket"
    assert value(metrics, name, le="0.001") == 1
    assert value(metrics, name, le="0.004") == 2


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
def test_a_scrape_gets_the_format_it_asks_for(accept: str, content_type: str) -> None:
    body, got = GatewayMetrics().render(accept)
    assert got.startswith(content_type)
    assert (b"# EOF" in body) is (content_type != "text/plain")
