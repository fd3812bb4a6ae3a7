"""`forebay serve` as a user runs it: start, answer, crash of the engine, end."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from tests.support.gateway_process import GatewayProcess, running_gateway


def client_of(gateway: GatewayProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, model: str = "smollm2", **settings: Any) -> Any:
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Say hello."}],
        **{"max_tokens": 4, "temperature": 0, **settings},
    )


def engine_of(gateway: GatewayProcess) -> psutil.Process:
    children = psutil.Process(gateway.process.pid).children(recursive=True)
    (engine,) = [child for child in children if "backend_engine" in " ".join(child.cmdline())]
    return engine


@pytest.fixture
def gateway(tmp_path: Path, smollm2_path: Path) -> Any:
    with running_gateway(tmp_path) as gateway:
        yield gateway


def test_without_configuration_it_serves_smollm2_and_auto(gateway: GatewayProcess) -> None:
    with client_of(gateway) as client:
        for model in ("smollm2", "auto"):
            answer = ask(client, model)
            assert answer.choices[0].message.content
            assert answer.usage.completion_tokens > 0
        assert {"smollm2", "auto"} <= {model.id for model in client.models.list()}
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-4o")
    printed = gateway.output.read_text()
    assert gateway.url in printed
    assert "curl" in printed
    assert "OpenAI(" in printed


def test_a_killed_engine_is_started_again(gateway: GatewayProcess) -> None:
    first = engine_of(gateway)
    first.kill()
    first.wait(10)
    deadline = time.monotonic() + 60
    with client_of(gateway) as client:
        while time.monotonic() < deadline:
            try:
                assert ask(client).choices[0].message.content
                break
            except openai.InternalServerError:
                time.sleep(0.1)
        else:
            raise AssertionError(gateway.output.read_text())
    assert engine_of(gateway).pid != first.pid


def test_sigterm_lets_a_running_stream_finish(gateway: GatewayProcess) -> None:
    with client_of(gateway) as client:
        chunks = iter(ask(client, stream=True, max_tokens=60, extra_body={"ignore_eos": True}))
        next(chunks)
        gateway.process.send_signal(signal.SIGTERM)
        reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == "length"
    assert gateway.process.wait(30) == 0


def test_an_engine_does_not_outlive_a_gateway_that_was_killed(gateway: GatewayProcess) -> None:
    engine = engine_of(gateway)
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    engine.wait(20)


def test_a_settled_request_can_be_looked_up(gateway: GatewayProcess) -> None:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        headers = response.headers
        usage = json.load(response)["usage"]
    timed = [part.strip().partition(";")[0] for part in headers["server-timing"].split(",")]
    assert timed == ["queue", "prefill", "decode", "upstream", "overhead"]
    with urllib.request.urlopen(
        f"{gateway.url}/forebay/requests/{headers['x-forebay-request-id']}"
    ) as response:
        record = json.load(response)
    assert record["usage"]["output_tokens"] == usage["completion_tokens"]
    assert record["route"] == "smollm2"
