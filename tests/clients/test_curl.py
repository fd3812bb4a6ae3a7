"""curl, as the README uses it."""

from __future__ import annotations

import asyncio
import json
import shutil

from tests.gateway.support.running import CHAT, RunningGateway
from tests.gateway.support.upstream import DONE

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Grüezi"}]}


async def curl(*arguments: str, stdin: str = "") -> bytes:
    """Run curl; returns what it printed."""
    program = shutil.which("curl")
    assert program is not None, "curl is not installed (Debian: apt-get install curl)"
    process = await asyncio.create_subprocess_exec(
        program,
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--max-time",
        "20",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate(stdin.encode())
    assert process.returncode == 0
    return printed


async def post(gateway: RunningGateway, body: str, *arguments: str) -> bytes:
    """POST a chat request."""
    header = ("--header", "content-type: application/json")
    return await curl(gateway.url + CHAT, *header, "--data-binary", "@-", *arguments, stdin=body)


async def test_chat(gateway: RunningGateway) -> None:
    answer = json.loads(await post(gateway, json.dumps(ASK)))
    assert answer["choices"][0]["message"]["content"] == "Grüße aus Zürich 🌊"


async def test_stream(gateway: RunningGateway) -> None:
    printed = await post(gateway, json.dumps({**ASK, "stream": True}), "--no-buffer")
    assert printed.startswith(b"data: {") and printed.endswith(DONE)


async def test_a_large_body_goes_out_after_100_continue(gateway: RunningGateway) -> None:
    body = json.dumps({**ASK, "user": "x" * 2_000_000})
    answer = json.loads(await post(gateway, body, "--header", "expect: 100-continue"))
    assert answer["object"] == "chat.completion"


async def test_an_error_and_its_status(gateway: RunningGateway) -> None:
    printed = await post(gateway, '{"model": ', "--write-out", "\n%{http_code}")
    body, _, status = printed.rpartition(b"\n")
    assert status == b"400" and json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_embeddings_and_models(gateway: RunningGateway) -> None:
    body = '{"model": "text-embedding-3-small", "input": "a"}'
    answer = await curl(
        f"{gateway.url}/v1/embeddings", "--header", "content-type: application/json", "--data-binary", body
    )
    assert json.loads(answer)["data"][0]["embedding"] == [0.5, -1.25, 2.0]
    assert json.loads(await curl(f"{gateway.url}/v1/models"))["object"] == "list"
