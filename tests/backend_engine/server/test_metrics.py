"""What a run leaves in the engine's metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.engine_process import running_engine


@pytest.fixture(scope="module")
def own_engine(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine that nothing else talks to; 180 tokens of KV, so that three answers preempt one another."""
    log = tmp_path_factory.mktemp("metrics") / "engine.log"
    with running_engine(smollm2_path, log, model_name="smollm2", kv_memory_mb=4) as url:
        yield url


async def scrape(http: aiohttp.ClientSession) -> dict[str, float]:
    """Return the unlabelled samples and each label set's, names without the prefix."""
    async with http.get("/metrics") as response:
        text = await response.text()
    return {
        sample.name.removeprefix("forebay_engine_") + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_run_is_counted_in_full(own_engine: str) -> None:
    body = {
        "model": "smollm2",
        "prompt": "One two three four five six seven eight nine ten. " * 4,
        "max_tokens": 60,
        "min_tokens": 60,
        "n": 3,
        "seed": 1,
    }
    async with aiohttp.ClientSession(own_engine) as http:
        async with http.post("/v1/completions", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
        after = await scrape(http)
    usage = answer["usage"]
    assert usage["completion_tokens"] == 180
    assert after["generation_tokens_total"] == after["request_generation_tokens_sum"] == 180
    assert after["prompt_tokens_total"] == after["request_prompt_tokens_sum"] == 3 * usage["prompt_tokens"]
    assert after["request_success_totallength"] == 3
    assert after["prefix_cache_queries_total"] == 3 * usage["prompt_tokens"]
    assert 0 < after["prefix_cache_hits_total"] < after["prefix_cache_queries_total"]
    assert after["num_preemptions_total"] > 0
    assert after["inter_token_latency_seconds_count"] == 3 * 59
    for phase in (
        "time_to_first_token",
        "e2e_request_latency",
        "request_queue_time",
        "request_prefill_time",
        "request_decode_time",
    ):
        assert after[f"{phase}_seconds_count"] == 3
        assert after[f"{phase}_seconds_sum"] >= 0
    parts = ("request_queue_time", "request_prefill_time", "request_decode_time")
    assert sum(after[f"{part}_seconds_sum"] for part in parts) <= after["e2e_request_latency_seconds_sum"]
    assert after["num_requests_running"] == after["num_requests_waiting"] == after["kv_cache_usage_perc"] == 0
    computed = after["iteration_tokens_total_sum"]
    assert computed >= usage["prompt_tokens"] + 180 - 3, "what preemption recomputes comes on top"


async def test_drafts_and_what_became_of_them_are_counted(own_engine: str) -> None:
    prompt = "Item 1: red apple. Item 2: red apple. Item 3: red apple. Item 4:"
    body = {"model": "smollm2", "prompt": prompt, "max_tokens": 40, "temperature": 0, "stream": True}
    async with aiohttp.ClientSession(own_engine) as http:
        before = await scrape(http)
        async with http.post("/v1/completions", json=body) as response:
            text = await response.text()
        after = await scrape(http)
    assert text.count('"finish_reason":"length"') == 1

    def counted(name: str) -> float:
        return after[name] - before[name]

    drafts, drafted = counted("spec_decode_num_drafts_total"), counted("spec_decode_num_draft_tokens_total")
    accepted = counted("spec_decode_num_accepted_tokens_total")
    assert drafts > 0
    assert drafted >= accepted > 0
    by_position = [
        after.get(name, 0) - before.get(name, 0)
        for name in (f"spec_decode_num_accepted_tokens_per_pos_total{at}" for at in range(16))
    ]
    assert sum(by_position) == accepted
    assert by_position == sorted(by_position, reverse=True)
    assert counted("generation_tokens_total") == 40
