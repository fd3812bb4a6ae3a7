"""Prompts that are longer than the window: what the upstream gets, and what the client is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from gateway.window.base import CannotShorten, Means, Overlong, Progress
from gateway.window.compressed import Compressed
from gateway.window.sliding import SlidingWindow
from gateway.window.summaries import HierarchicalSummary
from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import RunningGateway, chat, running_gateway
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.upstream import ScriptedUpstream
from tests.gateway.support.windowed import Windowed, tokens_of

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
models:
  m: {{upstream: up, context: 1000}}
  unknown: {{upstream: up}}
  big: {{upstream: up, context: 16000, price: {{input: 1, output: 1}}}}
  dear: {{upstream: up, context: 16000, price: {{input: 1000, output: 1}}}}
compress: {{fit: {fit}}}
"""
WORDS = ["mill", "bridge", "tower", "harbour", "market", "chapel", "orchard", "quarry", "brewery", "canal"]


def town(count: int) -> str:
    """Passages about so many things."""
    return "\n\n".join(
        f"The {WORDS[n % len(WORDS)]} number {n} of the old town was built in {1700 + n}. Nobody knows who "
        f"owns it today, but a merchant once paid {n}00 guilders for it and the land around it."
        for n in range(count)
    )


QUESTION = "In which year was the tower number 12 built?"
ASKED = f"{town(40)}\n\n{QUESTION}"
SUMMARY = f"{town(40)}\n\nSummarise this text."


class Reader:
    """A strategy that reads a text in parts, a call for each, and keeps what the model says."""

    def __init__(self, name: str, parts: int = 6) -> None:
        self.name = name
        self.parts = parts
        self.seen: list[Overlong] = []

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        self.seen.append(overlong)
        size = len(overlong.text) // self.parts + 1
        done = 0

        async def read(number: int) -> str:
            nonlocal done
            part = overlong.text[number * size : (number + 1) * size]
            said = await means.ask(f"{overlong.question}\n\n{part}", 50)
            done += 1
            means.progress(Progress(self.name, "windows", done, self.parts))
            return said

        return "\n".join(await asyncio.gather(*(read(number) for number in range(self.parts))))


class Useless:
    """A strategy that never helps."""

    name = "retrieve"

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        raise CannotShorten("nothing was found")


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The strategies that the next gateway has; tests change them before it starts."""
    found: dict[str, Any] = {
        "compress": Compressed(),
        "window": Reader("window"),
        "summarise": Reader("summarise", parts=4),
    }
    monkeypatch.setattr("gateway.chain.strategies", lambda: found)
    return found


@pytest.fixture
def model(upstream: ScriptedUpstream) -> Windowed:
    windowed = Windowed({"m": 1000, "unknown": 1000, "big": 16000, "dear": 16000})
    upstream.reply = windowed.reply()
    return windowed


@asynccontextmanager
async def gateway_with(
    upstream: ScriptedUpstream, folder: Path, fit: str = "{}", **more: Any
) -> AsyncIterator[RunningGateway]:
    async with running_gateway(CONFIG.format(url=upstream.base_url, fit=fit), folder, **more) as gateway:
        yield gateway


async def ask(
    gateway: RunningGateway, content: Any, model: str = "m", status: int = 200, **headers: str
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """The answer's body, its headers, and the settled record."""
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    async with gateway.post(body=chat(model, messages=messages), **headers) as response:
        body = await response.json()
        assert response.status == status, body
        named = {name.lower(): value for name, value in response.headers.items()}
    return body, named, await gateway.settled(named["x-forebay-request-id"])


async def test_a_fact_is_looked_for_in_what_fits(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path, traced=True) as gateway:
        _, headers, record = await ask(gateway, ASKED)
        (sent,) = model.answered
        assert not model.refused and tokens_of(sent) <= 875
        text = sent["messages"][0]["content"]
        assert (
            text.endswith(f"\n\n{QUESTION}")
            and "The tower number 12 of the old town was built in 1712." in text
        )
        fit = record["fit"]
        assert fit["strategy"] == "compress" and fit["calls"] == 0 and fit["window"] == 1000
        assert fit["tokens_before"] > 2000 > 875 >= fit["tokens_after"] and not fit["exact"]
        assert int(headers["x-forebay-tokens-saved"]) == fit["tokens_before"] - fit["tokens_after"]
        assert "fit;dur=" in headers["server-timing"] and "compress;dur=" not in headers["server-timing"]
        (span,) = [span for span in gateway.spans if span.name == "fit"]
        (server,) = [span for span in gateway.spans if span.name == "POST /v1/chat/completions"]
        assert span.parent == server.context and span.attributes["forebay.fit.strategy"] == "compress"
        async with gateway.get("/metrics") as response:
            page = await response.text()
        assert 'forebay_fit_total{outcome="fitted",strategy="compress"} 1.0' in page


async def test_a_summary_is_made_by_calls_of_its_own(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    model.say = lambda body: f"said {len(model.answered)}"
    async with gateway_with(upstream, tmp_path, traced=True) as gateway:
        answer, headers, record = await ask(gateway, SUMMARY)
        assert len(model.answered) == 5 and answer["choices"][0]["message"]["content"] == "said 5"
        last = model.answered[-1]["messages"][0]["content"]
        assert last.endswith("\n\nSummarise this text.") and "said 1" in last and last.count("guilders") == 1
        (overlong,) = ways["summarise"].seen
        assert overlong.text == town(40)[len(town(1)) + 2 :] and overlong.question == "Summarise this text."
        assert record["fit"]["strategy"] == "summarise" and record["fit"]["calls"] == 4
        assert headers["x-forebay-route"] == "m" and record["attempts"] == 1
        fit, *servers = (
            [span for span in gateway.spans if span.name == name]
            for name in ("fit", "POST /v1/chat/completions")
        )
        assert sum(span.parent == fit[0].context for span in servers[0]) == 4


async def test_counting_reads_window_after_window(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path) as gateway:
        _, _, record = await ask(gateway, f"{town(40)}\n\nHow many bridges are there?")
        assert record["fit"]["strategy"] == "window" and record["fit"]["windows"] == 6


async def test_a_longer_model_reads_everything_if_it_is_worth_its_price(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path, "{longer: [big]}") as gateway:
        _, headers, record = await ask(gateway, ASKED)
        assert (
            headers["x-forebay-route"] == "big" == record["route"] and record["fit"]["strategy"] == "longer"
        )
        assert headers["x-forebay-route-reason"].startswith("m holds 1000 tokens, and the prompt has ")
        assert model.answered[0]["messages"][0]["content"] == ASKED and model.answered[0]["model"] == "big"
    async with gateway_with(upstream, tmp_path, "{longer: [dear]}") as gateway:
        _, headers, record = await ask(gateway, ASKED)
        assert headers["x-forebay-route"] == "m" and record["fit"]["strategy"] == "compress"
        # Where nothing else may be done it is dear, but it answers.
        ways.clear()
    async with gateway_with(upstream, tmp_path, "{longer: [dear]}") as gateway:
        _, headers, record = await ask(gateway, ASKED)
        assert headers["x-forebay-route"] == "dear" == record["fit"]["model"]


async def test_a_longer_model_must_be_able_to_take_the_request(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    body = chat("m", messages=[{"role": "user", "content": ASKED}], tools=tools)
    config = CONFIG.format(url=upstream.base_url, fit="{longer: [big]}")
    config = config.replace(
        "context: 16000, price: {input: 1,", "context: 16000, capabilities: {tools: false}, price: {input: 1,"
    )
    async with running_gateway(config, tmp_path) as gateway, gateway.post(body=body) as response:
        assert response.status == 200 and response.headers["x-forebay-route"] == "m"


async def test_estimates_learn_from_what_was_made_to_fit(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path) as gateway:
        sizes = []
        for n in range(5):
            _, _, record = await ask(gateway, ASKED.replace("number 12 built", f"number {n} built"))
            sizes.append(tokens_of(model.answered[-1]))
        # The upstream has four bytes to a token, and more fits when that is known.
        assert sizes[-1] > sizes[0] and record["fit"]["tokens_before"] < len(ASKED) / 3.5
    assert not model.refused


@pytest.mark.parametrize("way", ["compress", "window", "summarise", "longer"])
async def test_the_header_says_what_is_tried_first(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path, way: str
) -> None:
    async with gateway_with(upstream, tmp_path, "{longer: [big]}") as gateway:
        _, _, record = await ask(
            gateway, SUMMARY.replace("Summarise this text.", QUESTION), x_forebay_compress=f"fit:{way}"
        )
        assert record["fit"]["strategy"] == way


async def test_what_fits_is_left_alone_in_mode_fit(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    padded = f"{town(4)}\n\n\n\n\n\n{QUESTION}"
    async with gateway_with(upstream, tmp_path) as gateway:
        for mode, same in (("lossless", False), ("fit", True)):
            _, headers, record = await ask(gateway, padded, x_forebay_compress=mode)
            assert (model.answered[-1]["messages"][0]["content"] == padded) is same
            assert record["fit"] is None and ("x-forebay-tokens-saved" in headers) is not same


async def test_off_means_the_upstreams_own_refusal(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path) as gateway:
        body, _, record = await ask(gateway, ASKED, status=400, x_forebay_compress="off")
        assert "maximum context length is 1000" in body["error"]["message"] and record["fit"] is None
    async with gateway_with(upstream, tmp_path, "null") as gateway:
        await ask(gateway, ASKED, status=400)
        body, _, _ = await ask(gateway, ASKED, status=400, x_forebay_compress="fit")
        assert "switched off" in body["error"]["message"]
    async with gateway_with(upstream, tmp_path, "{strategies: [compress]}") as gateway:
        await ask(gateway, ASKED, status=400, x_forebay_compress="fit:window")


async def test_folding_alone_may_be_enough(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    records = json.dumps([{"number": n, "guilders": n * 100} for n in range(60)], indent=4)
    async with gateway_with(upstream, tmp_path) as gateway:
        _, _, record = await ask(gateway, f"{records}\n\nList all guilders.")
        assert record["fit"]["strategy"] == "lossless" and record["fit"]["calls"] == 0
        assert '"rows":[[0,0],' in model.answered[-1]["messages"][0]["content"]


async def test_a_refusal_teaches_the_window_and_is_not_seen(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path) as gateway:
        _, headers, record = await ask(gateway, ASKED, "unknown")
        assert len(model.refused) == 1 and len(model.answered) == 1 and headers["x-forebay-attempts"] == "2"
        assert record["fit"]["window"] == 1000 and record["fit"]["strategy"] == "compress"
        # The next one is not even tried.
        await ask(gateway, ASKED.replace("12", "13"), "unknown")
        assert len(model.refused) == 1 and len(model.answered) == 2


async def test_an_estimate_that_was_too_low_is_put_right_once(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    # The upstream's window is a quarter of what it is configured to be.
    model.windows["m"] = 500
    async with gateway_with(upstream, tmp_path) as gateway:
        _, _, record = await ask(gateway, ASKED, x_forebay_compress="fit:compress")
        assert len(model.refused) == 1 and len(model.answered) == 1 and record["fit"]["window"] == 500


async def test_other_errors_are_the_clients(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    model.refusal = lambda window, tokens: b'{"error": {"message": "temperature must be below 2"}}'
    async with gateway_with(upstream, tmp_path) as gateway:
        body, _, record = await ask(gateway, ASKED, "unknown", status=400)
        assert "temperature" in body["error"]["message"] and record["attempts"] == 1 and record["fit"] is None


async def test_an_answer_that_could_never_fit_is_the_upstreams_to_refuse(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    body = chat("unknown", messages=[{"role": "user", "content": "Hi"}], max_tokens=5000)
    async with gateway_with(upstream, tmp_path) as gateway, gateway.post(body=body) as response:
        assert response.status == 400 and len(model.refused) == 1
        assert "maximum context length" in (await response.json())["error"]["message"]


async def test_what_cannot_be_made_to_fit_is_told_why(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    ways.clear()
    ways["retrieve"] = Useless()
    async with gateway_with(upstream, tmp_path) as gateway:
        body, _, _ = await ask(gateway, ASKED, "unknown", status=400)
        error = body["error"]
        assert error["code"] == "context_length_exceeded" and error["param"] == "messages"
        assert "retrieve: nothing was found" in error["message"] and "1000" in error["message"]
        # A guess is no reason to refuse: the upstream is asked.
        model.windows["m"] = 100_000
        await ask(gateway, ASKED, "m")
        async with gateway.get("/metrics") as response:
            assert 'forebay_fit_total{outcome="failed",strategy="none"} 2.0' in await response.text()


async def test_too_many_calls_lead_to_the_next_way(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path, "{max_calls: 3}") as gateway:
        _, _, record = await ask(gateway, f"{ASKED} List all you know of it.")
        assert record["fit"]["strategy"] == "compress" and record["fit"]["calls"] == 3


@pytest.mark.parametrize("strategy", [SlidingWindow(), HierarchicalSummary()])
async def test_parts_that_are_too_many_are_not_read_at_all(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path, strategy: Any
) -> None:
    ways[strategy.name] = strategy
    text = f"{town(40)}\n\n{QUESTION}"
    async with gateway_with(
        upstream, tmp_path, "{strategies: [window, summarise, compress], max_calls: 2}"
    ) as gateway:
        _, _, record = await ask(gateway, text, x_forebay_compress=f"fit:{strategy.name}")
        assert record["fit"]["calls"] == 0 and record["fit"]["strategy"] == "compress"
        assert len(model.answered) == 1


async def test_so_does_a_deadline(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    model.hold, model.held = asyncio.Event(), lambda body: "max_tokens" in body
    async with gateway_with(upstream, tmp_path, "{deadline_s: 0.3}") as gateway:
        _, _, record = await ask(gateway, f"{ASKED} List all you know of it.")
        assert record["fit"]["strategy"] == "compress" and record["fit"]["calls"] <= 4
        assert [body for body in model.answered if "max_tokens" not in body]


async def test_no_more_calls_are_under_way_than_may_be(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    released = model.hold = asyncio.Event()
    async with gateway_with(upstream, tmp_path, "{parallel: 2}") as gateway:
        asked = asyncio.create_task(ask(gateway, SUMMARY))
        async with asyncio.timeout(10):
            while model.waiting < 2:
                await asyncio.sleep(0.005)
        released.set()
        await asked
        assert model.most_waiting == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cached", [False, True])
async def test_who_leaves_ends_the_job(
    upstream: ScriptedUpstream,
    model: Windowed,
    ways: dict[str, Any],
    tmp_path: Path,
    stream: bool,
    cached: bool,
) -> None:
    model.hold = asyncio.Event()
    body = chat("m", messages=[{"role": "user", "content": SUMMARY}], stream=stream)
    async with gateway_with(upstream, tmp_path, "{parallel: 2}", cached=cached) as gateway:
        asked = asyncio.create_task(gateway.http.post(f"{gateway.url}/v1/chat/completions", json=body))
        async with asyncio.timeout(10):
            while model.waiting < 2:
                await asyncio.sleep(0.005)
            if stream:
                (await asked).close()
            else:
                asked.cancel()
            while model.waiting:
                await asyncio.sleep(0.005)
        # Both running calls are broken off, and none begins in their place.
        model.hold.set()
        async with gateway.get("/metrics") as response:
            page = await response.text()
        assert len(model.answered) == 2
        assert 'forebay_fit_total{outcome="broken_off",strategy="none"} 1.0' in page


async def test_a_stream_hears_how_far_it_is(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    released = model.hold = asyncio.Event()
    body = chat("m", messages=[{"role": "user", "content": SUMMARY}], stream=True)
    async with gateway_with(upstream, tmp_path) as gateway:
        async with gateway.post(body=body, x_forebay_report="1") as response:
            # The head is here before any call is answered.
            assert response.status == 200 and response.content_type == "text/event-stream"
            assert not released.is_set()
            released.set()
            events = (await response.text()).split("\n\n")
        notes = [
            json.loads(event.removeprefix(": forebay ")) for event in events if event.startswith(": forebay")
        ]
        steps = [note["fit"] for note in notes if note.get("fit", {}).get("step")]
        assert [step["done"] for step in steps] == [1, 2, 3, 4] and {step["of"] for step in steps} == {4}
        report = notes[-1]
        assert report["fit"]["strategy"] == "summarise" and events[-2] == "data: [DONE]"


async def test_a_short_job_does_not_hurry_the_head(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    body = chat("m", messages=[{"role": "user", "content": ASKED}], stream=True)
    async with gateway_with(upstream, tmp_path) as gateway, gateway.post(body=body) as response:
        assert int(response.headers["x-forebay-tokens-saved"]) > 1000
        assert ": forebay" not in await response.text()


async def test_openais_client_does_not_stumble_over_progress(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    messages: Any = [{"role": "user", "content": SUMMARY}]
    async with (
        gateway_with(upstream, tmp_path) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(
            model="m", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "The tower was built in 1702." and chunks[-1].usage is not None
        # What goes wrong once the head is out is an error of the stream.
        ways["window"] = FailsAfterACall()
    async with (
        gateway_with(upstream, tmp_path, "{strategies: [window]}") as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(model="unknown", messages=messages, stream=True)
        with pytest.raises(openai.APIError, match="no way") as caught:
            _ = [chunk async for chunk in stream]
        assert caught.value.code == "context_length_exceeded"


class FailsAfterACall:
    """A strategy that asks, and then gives up."""

    name = "window"

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        await means.ask("What is it?", 10)
        raise CannotShorten("there is no way")


async def test_a_refusal_after_the_head_is_the_streams_last_event(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    body = chat("m", messages=[{"role": "user", "content": SUMMARY}], stream=True)
    answer = model.reply()

    async def reply(request: Any, received: bytes) -> Any:
        if json.loads(received).get("stream"):
            model.windows["m"] = 0
            model.refusal = lambda window, tokens: b'{"error": {\n"message": "busy",\n"code": "busy"}}'
        return await answer(request, received)

    upstream.reply = reply
    async with gateway_with(upstream, tmp_path) as gateway, gateway.post(body=body) as response:
        events = (await response.text()).split("\n\n")
        assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == "busy"
        record = await gateway.settled(response.headers["x-forebay-request-id"])
        assert record["error"] == "400"


async def test_old_turns_go_before_a_request_is_refused(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    messages = [{"role": "system", "content": "Be brief."}]
    for n in range(40):
        messages += [
            {"role": "user", "content": f"Question {n}: " + "what about it? " * 8},
            {"role": "assistant", "content": f"Answer {n}: " + "it is so. " * 8},
        ]
    messages.append({"role": "user", "content": "And now?"})
    async with gateway_with(upstream, tmp_path) as gateway:
        _, _, record = await ask(gateway, messages)
    sent = model.answered[-1]["messages"]
    left_out = record["fit"]["left_out"]
    assert record["fit"]["strategy"] == "turns" and left_out % 2 == 0 and 40 < left_out < 80
    assert sent[0] == messages[0] and sent[-1] == messages[-1] and sent[2:] == messages[left_out + 2 :]
    note = f"[{left_out} earlier messages of this conversation left out]\n\n"
    assert sent[1]["content"] == note + messages[left_out + 1]["content"]


ROUTE = """
routes:
  auto: {tiers: [m, big]}
"""


async def test_a_tier_whose_window_is_too_short_is_not_asked(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    config = CONFIG.format(url=upstream.base_url, fit="{longer: [big]}") + ROUTE
    async with running_gateway(config, tmp_path) as gateway:
        _, headers, record = await ask(gateway, ASKED, "auto")
        assert headers["x-forebay-route"] == "big" and record["fit"] is None and record["attempts"] == 1
        assert "m has too short a window" in record["route_reason"]
        # Where none is long enough, the last one gets what fits.
        _, headers, record = await ask(gateway, f"{town(500)}\n\n{QUESTION}", "auto")
        assert headers["x-forebay-route"] == "big" and record["fit"]["strategy"] == "compress"
        assert record["attempts"] == 1
        # Whoever insists on the small one gets it; the others of the route are not his wish.
        _, headers, record = await ask(gateway, ASKED, "auto", x_forebay_route="m")
        assert headers["x-forebay-route"] == "m" and record["fit"]["strategy"] == "compress"
        _, headers, _ = await ask(
            gateway, ASKED, "auto", x_forebay_route="m", x_forebay_compress="fit:longer"
        )
        assert headers["x-forebay-route"] == "big"


async def test_a_request_that_only_the_last_tier_can_answer_is_read_by_it(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    messages = [{"role": "user", "content": f"{town(500)}\n\nHow many bridges are there?"}]
    # Of several choices none is judged, so nothing is held back either.
    body = chat("auto", messages=messages, n=2, stream=True)
    config = CONFIG.format(url=upstream.base_url, fit="{}") + ROUTE
    async with running_gateway(config, tmp_path) as gateway:
        async with gateway.post(body=body, x_forebay_compress="fit:window") as response:
            text = await response.text()
        assert ": forebay" in text and "data: [DONE]" in text
        assert {sent["model"] for sent in model.answered} == {"big"}


async def test_where_the_hop_itself_fails_the_prompt_goes_as_it_came(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    class Broken:
        name = "window"

        async def shorten(self, overlong: Overlong, means: Means) -> str:
            raise ZeroDivisionError

    ways["window"] = Broken()
    async with gateway_with(upstream, tmp_path) as gateway:
        body, _, record = await ask(gateway, ASKED, status=400, x_forebay_compress="fit:window")
        assert model.refused[0]["messages"][0]["content"] == ASKED
        assert "It could not be made to fit" not in body["error"]["message"] and record["attempts"] == 1


async def test_answers_are_cached_under_the_clients_own_prompt(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path, cached=True) as gateway:
        verdicts = []
        for kept, mode in enumerate(("fit", "fit", "fit:compress", "auto")):
            _, headers, _ = await ask(gateway, ASKED, x_forebay_compress=mode)
            verdicts.append(headers["x-forebay-cache"])
            await until_kept(gateway, max(1, kept))
        assert verdicts == ["miss", "hit-exact", "miss", "miss"]


async def test_calls_of_its_own_are_the_tenants(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    config = (
        CONFIG.format(url=upstream.base_url, fit="{parallel: 1}")
        + f"tenants: {json.dumps([tenant('t', rpm=4)])}"
    )
    async with running_gateway(config, tmp_path) as gateway:
        body = chat("m", messages=[{"role": "user", "content": SUMMARY}])
        async with gateway.post(body=body, **bearer(key_of("t"))) as response:
            # Three calls were within the limit; the next way needs none.
            assert response.status == 200 and len(model.answered) == 4
            assert response.headers["x-ratelimit-remaining-requests"] == "3"
        async with gateway.post(body=body, **bearer(key_of("t"))) as response:
            assert response.status == 429


async def test_equal_requests_share_one_job(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    released = model.hold = asyncio.Event()
    body = chat("m", messages=[{"role": "user", "content": SUMMARY}], stream=True)
    async with (
        gateway_with(upstream, tmp_path, cached=True) as gateway,
        gateway.post(body=body) as first,
        gateway.post(body=body) as second,
    ):
        assert second.headers["x-forebay-cache"] == "coalesced"
        released.set()
        texts = [await response.text() for response in (first, second)]
    assert len(model.answered) == 5
    assert all('"done":4,"of":4' in text and text.endswith("data: [DONE]\n\n") for text in texts)


class Careless:
    """A strategy that asks with more than a prompt may have."""

    name = "window"

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        return await means.ask(f"{overlong.text}\n\n{overlong.question}", 10)


async def test_calls_of_its_own_are_not_made_to_fit(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    ways["window"] = Careless()
    async with gateway_with(upstream, tmp_path) as gateway:
        _, _, record = await ask(gateway, ASKED, x_forebay_compress="fit:window")
    assert len(model.refused) == len(model.answered) == 1 and record["fit"]["calls"] == 1
    assert record["fit"]["strategy"] == "compress"


async def test_an_answer_of_a_long_job_is_stored_without_its_comments(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    body = chat("m", messages=[{"role": "user", "content": SUMMARY}], stream=True)
    async with gateway_with(upstream, tmp_path, cached=True) as gateway:
        async with gateway.post(body=body) as response:
            first = await response.text()
        await until_kept(gateway, 5)
        async with gateway.post(body=body) as response:
            assert response.headers["x-forebay-cache"] == "hit-exact"
            again = await response.text()
    assert ": forebay" in first and ": forebay" not in again and "built in 1702" in again


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_lacks_a_part_is_not_stored(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path, stream: bool
) -> None:
    ways["window"] = SlidingWindow()
    asked = f"{town(40)}\n\nHow many bridges are there?"
    body, broken = chat("m", messages=[{"role": "user", "content": asked}], stream=stream), True
    answers, calls = model.reply(), 0

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if broken and b"Text:" in received and b"tower number 12 of" in received:
            return web.Response(status=422, body=b'{"error":{"message":"no"}}')
        return await answers(request, received)

    upstream.reply = reply
    async with gateway_with(upstream, tmp_path, cached=True) as gateway:
        seen = []
        for broken in (True, False, False):
            async with gateway.post(body=body) as response:
                await response.read()
                seen.append((response.status, response.headers["x-forebay-cache"]))
            sent = model.answered[-1]["messages"][0]["content"]
            assert ("could not be read]" in sent) == broken
            await until_kept(gateway, calls)
    assert seen == [(200, "miss"), (200, "miss"), (200, "hit-exact")]


@pytest.mark.parametrize(
    ("question", "strategy"),
    [
        (QUESTION, "compress"),
        (f"{QUESTION} Say it in one sentence.", "retrieve"),
        ("How many bridges are there?", "window"),
        ("Summarise this text.", "summarise"),
    ],
)
async def test_every_strategy_of_a_gateway_makes_it_fit(
    upstream: ScriptedUpstream, model: Windowed, tmp_path: Path, question: str, strategy: str
) -> None:
    def say(body: dict[str, Any]) -> str:
        text = body["messages"][0]["content"]
        return (
            next(line for line in text.split("\n") if "guilders" in line) if "guilders" in text else "None."
        )

    model.say = say
    # Four times smaller is what the compressor may do, and less than what this takes.
    text = town(40 if strategy != "retrieve" else 200)
    body = chat("m", messages=[{"role": "user", "content": f"{text}\n\n{question}"}], stream=True)
    async with gateway_with(upstream, tmp_path) as gateway, gateway.post(body=body) as response:
        assert "data: [DONE]" in await response.text()
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    fit, sent = record["fit"], model.answered[-1]
    assert fit["strategy"] == strategy and not model.refused and tokens_of(sent) <= 875
    assert (fit["calls"] > 0 and fit["windows"] > 1) == (strategy in ("window", "summarise"))
    got = sent["messages"][0]["content"]
    assert got.endswith(f"\n\n{question}") and "guilders" in got
    assert ("tower number 12 of the old town was built in 1712" in got) or strategy in ("window", "summarise")


async def test_the_parts_are_cached_too(
    upstream: ScriptedUpstream, model: Windowed, ways: dict[str, Any], tmp_path: Path
) -> None:
    async with gateway_with(upstream, tmp_path, cached=True) as gateway:
        await ask(gateway, SUMMARY)
        assert len(model.answered) == 5
        # Another answer is wanted, so it is another request; what was read is the same.
        body = chat("m", messages=[{"role": "user", "content": SUMMARY}], top_p=0.5)
        await until_kept(gateway, 5)
        async with gateway.post(body=body) as response:
            assert response.status == 200
        assert len(model.answered) == 6
