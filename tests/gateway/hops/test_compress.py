"""The compressor in its place: after the cache's keys and the route, before the upstream."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.answer import Answer
from gateway.compression.mode import OFF, Mode
from gateway.compression.segments import Segment, segments
from gateway.config.schema import CompressConfig
from gateway.exchange import Exchange
from gateway.hops.compress import Compress
from gateway.wire.request import Endpoint, outgoing, read_request
from semantic_cache.semantic.client import SemanticClient
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Kind, NullTracer, RecordedSpan, Tracer
from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.semantic_tier import running_tier
from tests.gateway.support.upstream import ScriptedUpstream, stream_reply
from tests.semantic_cache.support.semantic_process import running_semantic

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
models:
  m: {{upstream: up, model: real-m, price: {{input: 10, output: 10}}}}
  free: {{upstream: up}}
compress: {compress}
"""
WORDS = ["mill", "bridge", "tower", "harbour", "market", "chapel", "orchard", "quarry"]
DOCUMENTS = "\n\n".join(
    f"The {word} of the old town was built in {1700 + n}. Nobody knows who owns the {word} today. "
    f"A merchant once paid {n}00 guilders for the {word} and the land around it."
    for n, word in enumerate(WORDS)
)
ASKED = f"{DOCUMENTS}\n\nWhen was the tower built?"
RECORDS = json.dumps([{"id": n, "name": f"name {n}", "price": 1.50} for n in range(40)], indent=2)


def body_of(content: Any, **more: Any) -> bytes:
    """Written as no encoder of ours would: spacing, escapes, unknown fields, numbers."""
    messages = [
        {"role": "system", "content": "  Be brief.\n\n\n\n"},
        {"role": "user", "content": content, "x_y": 1.0},
    ]
    return json.dumps(
        {"temperature": 1.0, "messages": messages, "model": "m", "later": {"a": None}, **more}, indent=1
    ).encode()


@pytest.fixture
async def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> Any:
    config = CONFIG.format(url=upstream.base_url, compress="{mode: lossless}")
    async with running_gateway(config, tmp_path, traced=True) as gateway:
        yield gateway


async def headers_of(gateway: RunningGateway, body: bytes, **headers: str) -> dict[str, str]:
    async with gateway.post(body=body, **headers) as response:
        assert response.status == 200, await response.text()
        await response.read()
        return {name.lower(): value for name, value in response.headers.items()}


def sent(upstream: ScriptedUpstream) -> Any:
    return json.loads(upstream.received[-1].body)


@pytest.mark.parametrize("mode", ["off", "lossless"])
async def test_where_nothing_can_be_folded_the_clients_bytes_go_on(
    gateway: RunningGateway, upstream: ScriptedUpstream, mode: str
) -> None:
    body = body_of(ASKED)
    await headers_of(gateway, body, x_forebay_compress=mode)
    assert upstream.received[-1].body == body.replace(b'"m"', b'"real-m"')


async def test_folding_is_spliced_into_the_clients_bytes(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    body = body_of(f"{RECORDS}\n\nWhich is dearest?")
    answered = await headers_of(gateway, body)
    before, _, after = body.partition(json.dumps(f"{RECORDS}\n\nWhich is dearest?").encode())
    got = upstream.received[-1].body
    assert got.startswith(before) and got.endswith(after.replace(b'"m"', b'"real-m"'))
    text = sent(upstream)["messages"][1]["content"]
    table = json.loads(text.removesuffix("\n\nWhich is dearest?"))
    assert table["columns"] == ["id", "name", "price"] and table["rows"][7] == [7, "name 7", 1.5]
    assert int(answered["x-forebay-tokens-saved"]) > 400
    assert "compress;dur=" in answered["server-timing"]


async def test_a_ratio_is_kept_to_and_reported(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    answered = await headers_of(gateway, body_of(ASKED), x_forebay_compress="ratio:4")
    text = sent(upstream)["messages"][1]["content"]
    assert len(text) <= len(ASKED) / 4 and "The tower of the old town was built in 1702." in text
    assert sent(upstream)["messages"][0] == {"role": "system", "content": "  Be brief.\n\n\n\n"}
    record = (await gateway.settled(answered["x-forebay-request-id"]))["compression"]
    assert record["mode"] == "ratio:4" and record["ratio"] > 2.5 and record["stages"]["select"] > 100
    assert record["tokens_before"] - record["tokens_after"] == int(answered["x-forebay-tokens-saved"])
    (span,) = [span for span in gateway.spans if span.name == "compress"]
    assert span.attributes["forebay.compress.tokens_after"] == record["tokens_after"]
    server, call = (_span(gateway, name) for name in ("POST /v1/chat/completions", "chat real-m"))
    assert span.parent == server.context == call.parent
    async with gateway.get("/metrics") as response:
        page = await response.text()
    assert 'forebay_compress_requests_total{changed="yes",mode="ratio"} 1.0' in page
    assert 'forebay_compress_saved_tokens_total{stage="select"}' in page


def _span(gateway: RunningGateway, name: str) -> RecordedSpan:
    (found,) = [span for span in gateway.spans if span.name == name]
    return found


async def test_a_stream_is_compressed_too(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    upstream.reply = stream_reply()
    answered = await headers_of(gateway, body_of(ASKED, stream=True), x_forebay_compress="ratio:4")
    assert int(answered["x-forebay-tokens-saved"]) > 100
    assert sent(upstream)["stream_options"] == {"include_usage": True}


async def test_a_short_prompt_is_not_looked_at(gateway: RunningGateway) -> None:
    answered = await headers_of(gateway, json.dumps(chat()).encode(), x_forebay_compress="ratio:4")
    assert "x-forebay-tokens-saved" not in answered
    assert not [span for span in gateway.spans if span.name == "compress"]


async def test_messages_of_an_unknown_shape_go_on_as_they_are(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    body = json.dumps({"model": "free", "messages": {"new": ASKED}}).encode()
    await headers_of(gateway, body, x_forebay_compress="ratio:4")
    assert upstream.received[-1].body == body


@pytest.mark.parametrize("value", ["fit:magic", "half", "ratio:99"])
async def test_a_mode_that_is_none_is_refused(gateway: RunningGateway, value: str) -> None:
    async with gateway.post(x_forebay_compress=value) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert error["param"] == "x-forebay-compress" and "fit:WAY" in error["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_other_endpoints_refuse_what_they_would_ignore(gateway: RunningGateway, path: str) -> None:
    body = {"model": "m", "prompt": "a", "input": "a"}
    async with gateway.post(path, body, x_forebay_compress="auto") as response:
        assert response.status == 400
    async with gateway.post(path, body, x_forebay_compress="off") as response:
        assert response.status == 200


async def test_answers_of_different_modes_never_share_an_entry(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    config = CONFIG.format(url=upstream.base_url, compress="{mode: lossless}")
    async with running_gateway(config, tmp_path, cached=True) as gateway:
        verdicts = []
        modes = ["off", "lossless", "ratio:2", "ratio:4", "auto"]
        for kept, mode in enumerate(modes, 1):
            answered = await headers_of(gateway, body_of(ASKED), x_forebay_compress=mode)
            verdicts.append(answered["x-forebay-cache"])
            await until_kept(gateway, kept)
        assert verdicts == ["miss"] * len(modes)
        assert (await headers_of(gateway, body_of(ASKED)))["x-forebay-cache"] == "hit-exact"
        again = await headers_of(gateway, body_of(ASKED), x_forebay_compress="ratio:4.0")
        assert again["x-forebay-cache"] == "hit-exact" and "x-forebay-tokens-saved" not in again


async def test_auto_compresses_where_it_pays(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    config = CONFIG.format(url=upstream.base_url, compress="{mode: auto}")
    async with running_gateway(config, tmp_path) as gateway:
        changed = {"m": 0, "free": 0}
        for model in changed:
            for number in range(12):
                asked = ASKED.replace("old town", f"old town {number}")
                await headers_of(
                    gateway, json.dumps(chat(model, messages=[{"role": "user", "content": asked}])).encode()
                )
                changed[model] += len(sent(upstream)["messages"][0]["content"]) < len(asked)
    # About half of the first conversations are left whole to see whether answers grow.
    assert 3 <= changed["m"] <= 10 and changed["free"] == 0


async def test_stages_can_be_switched_off(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    config = CONFIG.format(url=upstream.base_url, compress="{mode: lossless, stages: [space]}")
    async with running_gateway(config, tmp_path) as gateway:
        body = body_of(f"{RECORDS}\n\nWhich is dearest?")
        await headers_of(gateway, body)
        assert upstream.received[-1].body == body.replace(b'"m"', b'"real-m"')


async def test_passages_are_compared_by_the_semantic_process(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    asked = f"{DOCUMENTS}\n\nWhich of these things in the old town is large?"
    async with running_tier(tmp_path, upstream) as tier:
        body = json.dumps(chat(messages=[{"role": "user", "content": asked}])).encode()
        answered = await headers_of(tier.gateway, body, x_forebay_compress="ratio:4")
        record = (await tier.gateway.settled(answered["x-forebay-request-id"]))["compression"]
        assert record["ranked"] and record["ratio"] > 2.5


SCORED = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
  small: {{kind: openai, base_url: "{engine}/v1"}}
models:
  m: {{upstream: up, model: real-m, price: {{input: 10, output: 10}}}}
  s:
    upstream: small
    model: smollm2
    price: {{input: 1000000, output: 0}}
    capabilities: {{prompt_logprobs: true}}
compress: {{scorer: {{model: s}}, deadline_ms: {deadline_ms}}}
"""
DENSE = " ".join(
    ["The tower of the town is one of the towers that are there, and it was built in 1702 by the merchants."]
    + [
        f"It is the {word} of the tower that is said to have the best of the views in that town."
        for word in WORDS
    ]
)
"""Its small words are what it has too much of."""
DENSE_ASKED = f"{DENSE}\n\n{DOCUMENTS.replace('tower', 'gate')}\n\nWhen was the tower of the town built?"
JUST_TOO_LARGE = f"ratio:{len(DENSE_ASKED) / (0.94 * len(DENSE) + 80):.1f}"


async def test_a_passage_that_just_does_not_fit_loses_small_words(
    upstream: ScriptedUpstream, tmp_path: Path, engine_url: str
) -> None:
    config = SCORED.format(url=upstream.base_url, engine=engine_url, deadline_ms=60_000)
    async with running_gateway(config, tmp_path, traced=True) as gateway:
        prompts, records = [], []
        for turns in (1, 2):
            messages = [{"role": "user", "content": DENSE_ASKED}] * turns
            answered = await headers_of(
                gateway, json.dumps(chat(messages=messages)).encode(), x_forebay_compress=JUST_TOO_LARGE
            )
            prompts.append(sent(upstream)["messages"][0]["content"])
            records.append(await gateway.settled(answered["x-forebay-request-id"]))
        async with gateway.get("/metrics") as response:
            page = await response.text()
    assert "[abridged]" in prompts[0] and "built in 1702" in prompts[0]
    assert all(word in prompts[0] for word in WORDS)
    # The second turn finds what was decided, and has nobody asked again.
    assert prompts[0] == prompts[1] and records[1]["compression"]["scorer"] is None
    made = records[0]["compression"]
    assert made["scorer"] == "s" and made["scorer_ms"] > 0 and made["stages"]["prune"] > 0
    # A dollar a token: what the scorer read is most of what this request cost.
    assert records[0]["cost_usd"] > 100 > 1 > records[1]["cost_usd"]
    (asked,) = [span for span in gateway.spans if span.name == "compress.score"]
    compress, _ = [span for span in gateway.spans if span.name == "compress"]
    assert asked.parent == compress.context and asked.attributes["forebay.compress.scorer.tokens"] > 100
    assert compress.attributes["forebay.compress.scorer"] == "s"
    assert 'forebay_compress_scorer_calls_total{outcome="answered"} 1.0' in page


async def test_a_scorer_that_is_gone_or_late_fails_open(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    for engine, deadline_ms in (("http://127.0.0.1:9", 5_000), (upstream.base_url, 0.01)):
        config = SCORED.format(url=upstream.base_url, engine=engine, deadline_ms=deadline_ms)
        async with running_gateway(config, tmp_path) as gateway:
            answered = await headers_of(
                gateway,
                json.dumps(chat(messages=[{"role": "user", "content": DENSE_ASKED}])).encode(),
                x_forebay_compress=JUST_TOO_LARGE,
            )
            record = (await gateway.settled(answered["x-forebay-request-id"]))["compression"]
        text = sent(upstream)["messages"][0]["content"]
        assert len(text) < len(DENSE_ASKED) and "[abridged]" not in text and "prune" not in record["stages"]


async def test_who_would_not_answer_in_time_is_not_asked(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    asked = f"{DOCUMENTS}\n\nWhich of these things in the old town is large?"
    body = json.dumps(chat(messages=[{"role": "user", "content": asked}])).encode()
    config = CONFIG.format(url=upstream.base_url, compress="{mode: 'ratio:4', deadline_ms: 0.001}")
    async with (
        running_semantic(tmp_path) as semantic,
        running_gateway(
            f'{config}\ncache: {{store: "{semantic.url}"}}',
            tmp_path,
            cached=True,
            semantic=str(semantic.socket),
        ) as gateway,
    ):
        answered = await headers_of(gateway, body)
        record = (await gateway.settled(answered["x-forebay-request-id"]))["compression"]
        assert not record["ranked"] and record["ratio"] > 2.5


async def test_a_second_call_may_ask_for_the_whole_prompt() -> None:
    body = body_of(ASKED)

    async def receive(limit: int) -> bytes:
        return body

    ex = Exchange(Endpoint.CHAT, {}, receive, tenant="t", body=body, compress=Mode("ratio", 4.0))
    ex.view = read_request(body, Endpoint.CHAT)
    prompts: list[bytes] = []

    async def upstream(ex: Exchange) -> Answer:
        assert ex.view is not None
        edits = () if ex.compression is None else ex.compression.edits
        prompts.append(outgoing(ex.body, ex.view, model="m", usage=False, prompt=edits))
        return Answer(200, b"{}", {})

    hop = Compress(CompressConfig(), NullTracer(), GatewayMetrics())
    await hop.run(ex, upstream)
    ex.compress = OFF
    await hop.run(ex, upstream)
    assert len(prompts[0]) < len(body) == len(prompts[1]) and prompts[1] == body


class Stalled(SemanticClient):
    """Takes a question and never answers."""

    def __init__(self) -> None:
        super().__init__("nowhere")
        self.asked = asyncio.Event()

    async def ask(self, call: Any, kind: Any, deadline_s: float) -> Any:
        self.asked.set()
        await asyncio.Event().wait()


async def test_a_client_that_leaves_while_passages_are_compared_ends_the_span() -> None:
    body = body_of(f"{DOCUMENTS}\n\nWhich of these things in the old town is large?")

    async def receive(limit: int) -> bytes:
        return body

    async def upstream(ex: Exchange) -> Answer:
        raise AssertionError("the upstream is not called")

    ex = Exchange(Endpoint.CHAT, {}, receive, tenant="t", body=body, compress=Mode("ratio", 4.0))
    ex.view = read_request(body, Endpoint.CHAT)
    spans: list[RecordedSpan] = []
    client = Stalled()
    tracer = Tracer(spans.append)
    ex.span = tracer.start("request", kind=Kind.SERVER)
    hop = Compress(CompressConfig(), tracer, GatewayMetrics(), client)
    running = asyncio.create_task(hop.run(ex, upstream))
    await client.asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [span.name for span in spans] == ["compress"] and ex.compression is None


async def test_a_long_prompt_is_compressed_beside_other_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    body = body_of(f"{DOCUMENTS * 40}\n\nWhen was the tower built?")
    threads: list[int] = []

    def read(text: str) -> list[Segment]:
        threads.append(threading.get_ident())
        return segments(text)

    async def receive(limit: int) -> bytes:
        return body

    async def upstream(ex: Exchange) -> Answer:
        return Answer(200, b"{}")

    monkeypatch.setattr("gateway.compression.compress.segments", read)
    ex = Exchange(Endpoint.CHAT, {}, receive, tenant="t", body=body, compress=Mode("ratio", 4.0))
    ex.view = read_request(body, Endpoint.CHAT)
    await Compress(CompressConfig(), NullTracer(), GatewayMetrics()).run(ex, upstream)
    assert ex.compression is not None and ex.compression.tokens_saved > 0
    assert threads and threading.get_ident() not in threads
