"""The model asks for what was left out of its prompt, and the client sees none of that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from aiohttp import web
from openai import AsyncOpenAI

from gateway.wire.own_tool import NAME
from tests.gateway.support.cached import until_kept
from tests.gateway.support.running import RunningGateway, running_gateway
from tests.gateway.support.tenants import bearer, key_of, tenant
from tests.gateway.support.upstream import (
    DONE,
    ScriptedUpstream,
    begin_stream,
    chunk,
    completion,
    json_reply,
    stream_reply,
    usage_chunk,
)
from tests.support.redis_server import RedisServer, running_redis

CONFIG = """
upstreams:
  up: {{kind: openai, base_url: "{url}", api_key: sk-upstream}}
models:
  m: {{upstream: up, price: {{input: 10, output: 10}}}}
compress: {{mode: "ratio:4", reversible: true}}
cache: {{store: "{store}", semantic: null}}
"""
LOG = "\n".join(
    f"12:00:{line:03} worker {line % 7} handled request r{line}" + (" slowly" if line == 150 else "")
    for line in range(400)
)
TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}
CALLED = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "Which request was slow?"},
    {"role": "assistant", "content": None, "tool_calls": [CALLED]},
    {"role": "tool", "tool_call_id": "c1", "content": LOG},
]
Script = Callable[[dict[str, Any]], Any]
"""From the body that the upstream got to an answer, or to the events of a stream."""


def body_of(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": MESSAGES, "tools": [TOOL], **more}


def own_call(arguments: dict[str, Any] | str, number: int = 0) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": f"call_own_{number}", "type": "function", "function": {"name": NAME, "arguments": text}}


def said(content: str | None = None, *calls: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {})}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return completion(choices=[choice])


def id_in(body: dict[str, Any]) -> str:
    text = next(message["content"] for message in body["messages"] if message["role"] == "tool")
    return str(text.split(f"{NAME} id=")[1].split()[0].rstrip("]"))


def tool_names(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


def scripted(upstream: ScriptedUpstream, *steps: Script) -> None:
    """Answer each call by its own step, the last one again and again."""
    left = list(steps)

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        step = left.pop(0) if len(left) > 1 else left[0]
        answer = step(json.loads(received))
        made = stream_reply(*answer) if isinstance(answer, list) else json_reply(answer)
        return await made(request, received)

    upstream.reply = reply


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/cache.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    with redis.Redis(port=server.port) as client:
        client.flushall()
    return server.url


@pytest.fixture
async def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway over SQLite."""
    config = CONFIG.format(url=upstream.base_url, store=f"sqlite://{tmp_path}/cache.db")
    async with running_gateway(config, tmp_path, cached=True, traced=True) as gateway:
        yield gateway


@pytest.fixture
async def either(upstream: ScriptedUpstream, store_url: str, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway over either store."""
    config = CONFIG.format(url=upstream.base_url, store=store_url)
    async with running_gateway(config, tmp_path, cached=True, traced=True) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="anything", max_retries=0) as made:
        yield made


async def answer_of(gateway: RunningGateway, body: dict[str, Any], **headers: str) -> tuple[Any, Any]:
    async with gateway.post(body=body, **headers) as response:
        text = await response.text()
        assert response.status == 200, text
        assert NAME not in text
        id = response.headers["x-forebay-request-id"]
    known = {name: value for name, value in headers.items() if name == "authorization"}
    async with gateway.get(f"/forebay/requests/{id}", headers=known) as response:
        return json.loads(text), await response.json()


def bodies(upstream: ScriptedUpstream) -> list[dict[str, Any]]:
    return [json.loads(received.body) for received in upstream.received]


async def metric(gateway: RunningGateway, outcome: str) -> float:
    async with gateway.get("/metrics") as response:
        page = await response.text()
    line = f'forebay_compress_retrievals_total{{outcome="{outcome}"}} '
    return sum(float(found[len(line) :]) for found in page.splitlines() if found.startswith(line))


async def test_the_model_gets_what_was_left_out(either: RunningGateway, upstream: ScriptedUpstream) -> None:
    scripted(
        upstream,
        lambda body: said(None, own_call({"id": id_in(body), "query": "slowly"})),
        lambda body: said("It was r150."),
    )
    answer, record = await answer_of(either, body_of())
    assert answer["choices"][0]["message"]["content"] == "It was r150."
    first, second = bodies(upstream)
    assert tool_names(first) == tool_names(second) == ["read", NAME]
    # All up to the client's last message is the same, so the upstream finds it in its cache.
    assert second["messages"][:3] == first["messages"]
    called, result = second["messages"][3:]
    assert called["tool_calls"][0]["id"] == result["tool_call_id"] == "call_own_0"
    assert "handled request r150 slowly" in result["content"]
    assert record["compression"]["retrieved"] == 1 and record["attempts"] == 2
    assert record["usage"] == {"input_tokens": 20, "output_tokens": 4, "cached_tokens": 0}
    assert await metric(either, "found") == 1
    (span,) = [span for span in either.spans if span.name == "retrieve"]
    assert span.attributes["forebay.retrieve.outcomes"] == ["found"]


async def test_a_range_gives_the_lines_that_the_mark_names(
    either: RunningGateway, upstream: ScriptedUpstream
) -> None:
    def by_mark(body: dict[str, Any]) -> bytes:
        text = body["messages"][2]["content"]
        start, end = (int(text.split(f"{name}=")[1].split()[0].rstrip("]")) for name in ("start", "end"))
        assert end - start > 100
        return said(None, own_call({"id": id_in(body), "start": start + 9, "end": start + 11}))

    scripted(upstream, by_mark, lambda body: said("Done."))
    await answer_of(either, body_of())
    first, second = bodies(upstream)
    start = int(first["messages"][2]["content"].split("start=")[1].split()[0])
    lines = LOG.split("\n")[start + 8 : start + 11]
    assert second["messages"][4]["content"] == f"[lines {start + 9}-{start + 11}]\n" + "\n".join(lines)


async def test_the_same_conversation_is_sent_with_the_same_bytes(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    scripted(upstream, lambda body: said("Hm."))
    await answer_of(gateway, body_of())
    grown = [*MESSAGES, {"role": "assistant", "content": "Hm."}, {"role": "user", "content": "And?"}]
    await answer_of(gateway, body_of(messages=grown))
    first, second = (received.body for received in upstream.received)
    head = first[: first.index(b'],"tools"')]
    assert second.startswith(head) and bodies(upstream)[0]["tools"] == bodies(upstream)[1]["tools"]


async def test_without_the_tool_no_mark_names_it(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    named: dict[str, Any] = {"type": "function", "function": {"name": NAME, "parameters": {}}}
    cases: list[dict[str, Any]] = [
        {"tools": None},
        {"tools": []},
        {"tool_choice": "none"},
        {"tool_choice": {"type": "function", "function": {"name": "read"}}},
        {"n": 2},
        {"tools": [named]},
    ]
    scripted(upstream, lambda _: said("Fine."))
    for more in cases:
        body = {name: value for name, value in body_of(**more).items() if value is not None}
        async with gateway.post(body=body) as response:
            assert response.status == 200
        got = bodies(upstream)[-1]
        text = got["messages"][2]["content"]
        assert "left out" in text and NAME not in text and got.get("tools") == body.get("tools")
    assert len(upstream.received) == len(cases)


async def test_nothing_is_added_where_nothing_was_left_out(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    for mode in ("off", "lossless"):
        await answer_of(gateway, body_of(), x_forebay_compress=mode)
        assert tool_names(bodies(upstream)[-1]) == ["read"]


async def test_after_some_rounds_the_tool_is_withdrawn(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    ids: list[str] = []

    def again(body: dict[str, Any]) -> bytes:
        if NAME in tool_names(body):
            ids.append(id_in(body))
        # It goes on calling what it does not have any more.
        return said(None, own_call({"id": ids[-1], "start": 1}, len(body["messages"])))

    scripted(upstream, again)
    answer, record = await answer_of(gateway, body_of())
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": ""}
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert [NAME in tool_names(body) for body in bodies(upstream)] == [True, True, True, False]
    last = bodies(upstream)[-1]
    assert NAME not in last["messages"][2]["content"] and len(last["messages"]) == 3 + 2 * 3
    assert record["compression"]["retrieved"] == 3


async def test_a_mixed_answer_is_asked_for_again(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    theirs = {"id": "c2", "type": "function", "function": {"name": "read", "arguments": '{"n":1}'}}
    scripted(
        upstream,
        lambda body: said("Both.", theirs, own_call({"id": id_in(body), "query": "slowly"})),
        lambda body: said(None, theirs),
    )
    answer, _ = await answer_of(gateway, body_of())
    assert [call["id"] for call in answer["choices"][0]["message"]["tool_calls"]] == ["c2"]
    called, result = bodies(upstream)[1]["messages"][3:]
    # Every call has its result, as upstreams demand.
    assert [call["function"]["name"] for call in called["tool_calls"]] == [NAME]
    assert called["content"] == "Both." and result["role"] == "tool"


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ({"id": "nonsense"}, "missing"),
        ({"id": None}, "bad_arguments"),
        ("{", "bad_arguments"),
        ({"start": 1}, "bad_arguments"),
    ],
)
async def test_what_cannot_be_had_is_told_plainly(
    gateway: RunningGateway, upstream: ScriptedUpstream, arguments: Any, outcome: str
) -> None:
    scripted(upstream, lambda _: said(None, own_call(arguments)), lambda _: said("Without it."))
    answer, _ = await answer_of(gateway, body_of())
    assert answer["choices"][0]["message"]["content"] == "Without it."
    assert await metric(gateway, outcome) == 1
    assert bodies(upstream)[1]["messages"][4]["role"] == "tool"


async def test_what_was_never_left_out_is_not_made_up(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    scripted(
        upstream,
        lambda body: said(None, own_call({"id": id_in(body), "start": 100_000}, 0)),
        lambda _: said("Ok."),
    )
    await answer_of(gateway, body_of())
    assert await metric(gateway, "nothing") == 1


async def test_an_error_of_a_later_call_is_the_answer(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        if len(body["messages"]) > 3:
            error = b'{"error":{"message":"Slow down.","type":"t","param":null,"code":"c"}}'
            return await json_reply(error, 429)(request, received)
        if body.get("stream"):
            return await stream_reply(*own_events(id_in(body)))(request, received)
        return await json_reply(said(None, own_call({"id": id_in(body)})))(request, received)

    upstream.reply = reply
    for stream in (False, True):
        async with gateway.post(body=body_of(stream=stream)) as response:
            assert response.status == 429 and (await response.json())["error"]["message"] == "Slow down."


def own_events(id: str, index: int = 0, split: int = 5) -> list[bytes]:
    """The call of our tool as a stream has it, its arguments in pieces."""
    arguments = json.dumps({"id": id, "query": "slowly"})
    head = {"index": index, "id": "call_own", "type": "function", "function": {"name": NAME, "arguments": ""}}
    return [
        chunk({"role": "assistant", "content": None, "tool_calls": [head]}),
        *[
            chunk({"tool_calls": [{"index": index, "function": {"arguments": arguments[at : at + split]}}]})
            for at in range(0, len(arguments), split)
        ],
        chunk({}, "tool_calls"),
    ]


def their_events(index: int = 0, id: str = "c2") -> list[bytes]:
    head = {"index": index, "id": id, "type": "function", "function": {"name": "read", "arguments": ""}}
    return [
        chunk({"tool_calls": [head]}),
        chunk({"tool_calls": [{"index": index, "function": {"arguments": '{"n":1}'}}]}),
    ]


ROLE = chunk({"role": "assistant", "content": ""})
SAYS = [ROLE, chunk({"content": "It was "}), chunk({"content": "r150."}), chunk({}, "stop")]


async def raw_stream(gateway: RunningGateway, **more: Any) -> tuple[bytes, Any]:
    async with gateway.post(body=body_of(stream=True, **more)) as response:
        text = await response.read()
        assert response.status == 200, text
        assert NAME.encode() not in text
        record = await gateway.settled(response.headers["x-forebay-request-id"])
    return text, record


@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream_is_the_last_rounds_own_bytes_if_nothing_was_said_before(
    gateway: RunningGateway, upstream: ScriptedUpstream, usage: bool
) -> None:
    scripted(upstream, lambda body: [ROLE, *own_events(id_in(body))], lambda _: SAYS)
    more = {"stream_options": {"include_usage": True}} if usage else {}
    text, record = await raw_stream(gateway, **more)
    if usage:
        assert text.count(b'"usage":null') == len(SAYS) and text.endswith(usage_chunk() + DONE)
    else:
        assert text == b"".join(SAYS) + DONE
    assert record["compression"]["retrieved"] == 1
    assert record["usage"] == {"input_tokens": 20, "output_tokens": 4, "cached_tokens": 0}
    assert "slowly" in bodies(upstream)[1]["messages"][4]["content"]


async def test_what_was_said_before_a_call_stays_said(
    client: AsyncOpenAI, gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    before = [ROLE, chunk({"content": "Let me "}), chunk({"content": "look."})]
    later = [event.replace(b'"chatcmpl-1"', b'"chatcmpl-2"') for event in SAYS]
    scripted(upstream, lambda body: [*before, *own_events(id_in(body))], lambda _: later)
    async with client.chat.completions.stream(
        model="m",
        messages=MESSAGES,
        tools=[TOOL],  # type: ignore[list-item]
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert message.content == "Let me look.\n\nIt was r150." and message.role == "assistant"
    assert not message.tool_calls and final.choices[0].finish_reason == "stop"
    assert {event.chunk.id for event in events if event.type == "chunk"} == {"chatcmpl-1"}
    assert bodies(upstream)[1]["messages"][3]["content"] == "Let me look."


async def test_text_passes_before_it_is_known_what_follows(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    seen = asyncio.Event()

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(ROLE + chunk({"content": "At once."}))
        await seen.wait()
        await response.write(chunk({}, "stop") + DONE)
        return response

    upstream.reply = reply
    async with gateway.post(body=body_of(stream=True)) as response:
        got = b""
        async with asyncio.timeout(10):
            while b"At once." not in got:
                got += await response.content.readany()
        seen.set()
        assert b"[DONE]" in await response.read()


async def test_calls_of_the_clients_tools_stream_through_and_keep_valid_numbers(
    client: AsyncOpenAI, gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    # The client has seen a call of his own before ours comes, so ours is only taken out.
    events = [
        ROLE,
        *their_events(0, "c2"),
        *own_events("any", 1)[:-1],
        *their_events(2, "c3"),
        chunk({}, "tool_calls"),
    ]
    scripted(upstream, lambda _: events)
    async with client.chat.completions.stream(
        model="m",
        messages=MESSAGES,
        tools=[TOOL],  # type: ignore[list-item]
    ) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [(call.id, call.function.arguments) for call in calls] == [("c2", '{"n":1}'), ("c3", '{"n":1}')]
    assert final.choices[0].finish_reason == "tool_calls" and len(upstream.received) == 1
    await raw_stream(gateway)


async def test_ours_first_in_a_mixed_stream_is_asked_for_again(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    def mixed(body: dict[str, Any]) -> list[bytes]:
        return [ROLE, *own_events(id_in(body), 0)[:-1], *their_events(1), chunk({}, "tool_calls")]

    theirs = [ROLE, *their_events(0), chunk({}, "tool_calls")]
    scripted(upstream, mixed, lambda _: theirs)
    text, _ = await raw_stream(gateway)
    assert text == b"".join(theirs) + DONE


@pytest.mark.parametrize("stream", [False, True])
async def test_a_mark_that_the_model_quotes_reaches_the_client_without_its_note(
    gateway: RunningGateway, upstream: ScriptedUpstream, stream: bool
) -> None:
    def quoting(body: dict[str, Any]) -> Any:
        mark = next(
            line
            for line in body["messages"][2]["content"].split("\n")
            if NAME in line and line.startswith("[")
        )
        text = f"It says: {mark}"
        if not stream:
            return said(text)
        pieces = [text[at : at + 5] for at in range(0, len(text), 5)]
        return [ROLE, *[chunk({"content": piece}) for piece in pieces], chunk({}, "stop")]

    scripted(upstream, quoting)
    async with gateway.post(body=body_of(stream=stream)) as response:
        text = await response.text()
    assert NAME not in text and "forebay_" not in text
    await until_kept(gateway)
    # Nor is it in what was stored.
    answer, _ = await answer_of(gateway, body_of())
    assert "left out" in answer["choices"][0]["message"]["content"] and len(upstream.received) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_that_takes_no_further_tool_is_asked_without(
    gateway: RunningGateway, upstream: ScriptedUpstream, stream: bool
) -> None:
    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        if len(body["tools"]) > 1:
            message = f"tools[1].function.name {NAME} is one too many"
            error = json.dumps({"error": {"message": message, "type": "t", "param": None, "code": None}})
            return await json_reply(error.encode(), 400)(request, received)
        made = stream_reply(*SAYS) if stream else json_reply(said("It was r150."))
        return await made(request, received)

    upstream.reply = reply
    async with gateway.post(body=body_of(stream=stream)) as response:
        assert response.status == 200 and "r150" in await response.text()
    assert NAME not in upstream.received[1].body.decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_where_results_do_not_fit_the_model_answers_without_them(
    gateway: RunningGateway, upstream: ScriptedUpstream, stream: bool
) -> None:
    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        if len(body["messages"]) > 3:
            error = b'{"error":{"message":"Too long.","type":"t","param":null,"code":"c"}}'
            return await json_reply(error, 400)(request, received)
        if NAME not in tool_names(body):
            return await (stream_reply(*SAYS) if stream else json_reply(said("It was r150.")))(
                request, received
            )
        if stream:
            return await stream_reply(*own_events(id_in(body)))(request, received)
        return await json_reply(said(None, own_call({"id": id_in(body)})))(request, received)

    upstream.reply = reply
    async with gateway.post(body=body_of(stream=stream)) as response:
        assert response.status == 200 and "r150" in await response.text()
    assert [len(body["messages"]) for body in bodies(upstream)] == [3, 5, 3]


async def test_a_comment_keeps_the_connection_while_the_model_is_asked_again(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        if len(body["messages"]) > 3:
            error = b'{"error":{"message":"Slow down.","type":"t","param":null,"code":"c"}}'
            return await json_reply(error, 429)(request, received)
        response = await begin_stream(request)
        for event in [b": keep-alive\n\n", ROLE, *own_events(id_in(body)), DONE]:
            await response.write(event)
        return response

    upstream.reply = reply
    # The head has been sent with the comment, so what goes wrong later is an event.
    text, record = await raw_stream(gateway)
    assert text.startswith(b": keep-alive") and b"upstream_incomplete" in text
    assert record["error"] is not None


async def test_a_withdrawn_tool_that_is_called_all_the_same_leaves_an_empty_answer(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    scripted(upstream, lambda body: [ROLE, *own_events("any")])
    text, record = await raw_stream(gateway)
    chunks = [json.loads(line[6:]) for line in text.split(b"\n\n") if line.startswith(b"data: {")]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert record["attempts"] == 4 and text.endswith(DONE)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_cache_has_the_answer_that_came_of_it(
    gateway: RunningGateway, upstream: ScriptedUpstream, stream: bool
) -> None:
    if stream:
        before = [ROLE, chunk({"content": "Let me look."})]
        scripted(upstream, lambda body: [*before, *own_events(id_in(body))], lambda _: SAYS)
    else:
        scripted(
            upstream, lambda body: said(None, own_call({"id": id_in(body)})), lambda _: said("It was r150.")
        )
    async with gateway.post(body=body_of(stream=stream)) as response:
        assert response.status == 200
        await response.read()
    await until_kept(gateway)
    answer, _ = await answer_of(gateway, body_of())
    content = "Let me look.\n\nIt was r150." if stream else "It was r150."
    assert answer["choices"][0]["message"]["content"] == content and len(upstream.received) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_in_a_later_round_ends_its_call(
    gateway: RunningGateway, upstream: ScriptedUpstream, stream: bool
) -> None:
    again = asyncio.Event()

    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        if len(body["messages"]) > 3:
            again.set()
            await asyncio.Event().wait()
        if not stream:
            return await json_reply(said(None, own_call({"id": id_in(body)})))(request, received)
        return await stream_reply(ROLE, chunk({"content": "Let me"}), *own_events(id_in(body)))(
            request, received
        )

    upstream.reply = reply
    async with asyncio.timeout(10):
        asking = asyncio.create_task(_read(gateway, stream))
        await again.wait()
        asking.cancel()
        await upstream.left.wait()
    assert asking.cancelled() or isinstance(await _outcome(asking), asyncio.CancelledError)


async def _read(gateway: RunningGateway, stream: bool) -> bytes:
    async with gateway.post(body=body_of(stream=stream)) as response:
        return bytes(await response.read())


async def _outcome(task: asyncio.Task[bytes]) -> BaseException | None:
    return (await asyncio.gather(task, return_exceptions=True))[0]  # type: ignore[return-value]


async def test_a_stream_that_breaks_off_in_a_later_round_is_an_error(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    async def reply(request: web.Request, received: bytes) -> web.StreamResponse:
        body = json.loads(received)
        if len(body["messages"]) == 3:
            events = [ROLE, chunk({"content": "Let me"}), *own_events(id_in(body))]
            return await stream_reply(*events)(request, received)
        response = await begin_stream(request)
        await response.write(SAYS[0] + SAYS[1])
        return response

    upstream.reply = reply
    text, record = await raw_stream(gateway)
    assert b"upstream_incomplete" in text and record["error"] is not None


async def test_no_tenant_reads_what_anothers_prompt_was_sent_without(
    upstream: ScriptedUpstream, store_url: str, tmp_path: Path
) -> None:
    config = CONFIG.format(url=upstream.base_url, store=store_url)
    config += f"tenants: {json.dumps([tenant('one'), tenant('two')])}\n"
    ids: list[str] = []

    def note(body: dict[str, Any]) -> bytes:
        ids.append(id_in(body))
        return said("Fine.")

    async with running_gateway(config, tmp_path, cached=True) as gateway:
        scripted(upstream, note)
        await answer_of(gateway, body_of(), **bearer(key_of("one")))
        scripted(
            upstream,
            lambda _: said(None, own_call({"id": ids[0]})),
            lambda _: said("Nothing."),
        )
        await answer_of(gateway, body_of(), **bearer(key_of("two")))
        assert await metric(gateway, "missing") == 1
        assert ids[0] not in upstream.received[1].body.decode()


async def test_a_store_that_is_down_costs_the_tool_and_nothing_else(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    config = CONFIG.format(url=upstream.base_url, store=f"unix://{tmp_path}/nobody.sock")
    async with running_gateway(config, tmp_path, cached=True) as gateway:
        await answer_of(gateway, body_of())
        (got,) = bodies(upstream)
        text = got["messages"][2]["content"]
        assert "left out" in text and NAME not in text and tool_names(got) == ["read"]
        assert await metric(gateway, "unavailable") == 1
