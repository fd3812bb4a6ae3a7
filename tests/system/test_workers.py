"""Several workers and one real engine: who runs it, starts it again, and what a new configuration does."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import psutil
import pytest

from tests.support.gateway_process import GatewayProcess, running_gateway

CONFIG = """
server: {workers: 2}
upstreams: {engine: {kind: engine, model: smollm2-135m-instruct, kv_memory_mb: 64}}
models: {smollm2: {upstream: engine}}
"""
PATIENCE_S = 60


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, smollm2_path: Path) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, CONFIG, FOREBAY__STATE__STORE=f"sqlite://{folder}/state.db") as gateway:
        yield gateway


def children(gateway: GatewayProcess, module: str) -> list[psutil.Process]:
    found = psutil.Process(gateway.process.pid).children(recursive=True)
    return [child for child in found if _runs(child, module)]


def _runs(process: psutil.Process, module: str) -> bool:
    try:
        return module in process.cmdline()
    except psutil.Error:
        # Dead, but nobody has noticed yet.
        return False


def until(gateway: GatewayProcess, what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(gateway.output.read_text()[-3000:])


def ready(gateway: GatewayProcess) -> bool:
    try:
        # A connection for each call: any of the workers may answer.
        answers = [urllib.request.urlopen(f"{gateway.url}/health/ready", timeout=5) for _ in range(8)]
    except OSError:
        return False
    return all(json.load(answer)["upstreams"]["engine"] == "ready" for answer in answers)


def say(gateway: GatewayProcess, text: str, max_tokens: int = 4) -> str:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": text}],
            max_tokens=max_tokens,
            temperature=0,
        )
    return answer.choices[0].message.content or ""


def test_one_engine_serves_all_workers_and_starts_again_for_all(gateway: GatewayProcess) -> None:
    assert len(children(gateway, "gateway.worker")) == 2
    (engine,) = children(gateway, "backend_engine")
    assert all(say(gateway, f"Say {number}.") for number in range(6))
    engine.kill()
    engine.wait(10)
    until(gateway, lambda: [e.pid for e in children(gateway, "backend_engine")] not in ([], [engine.pid]))
    until(gateway, lambda: ready(gateway))
    assert all(say(gateway, f"Say {number} again.") for number in range(6))
    assert len(children(gateway, "backend_engine")) == 1


def test_a_worker_that_dies_leaves_the_engine_alone(gateway: GatewayProcess) -> None:
    (engine,) = children(gateway, "backend_engine")
    victim = children(gateway, "gateway.worker")[0]
    victim.kill()
    until(gateway, lambda: len({w.pid for w in children(gateway, "gateway.worker")} - {victim.pid}) == 2)
    until(gateway, lambda: ready(gateway))
    assert [e.pid for e in children(gateway, "backend_engine")] == [engine.pid]


def test_new_options_start_another_engine_and_lose_no_stream(gateway: GatewayProcess) -> None:
    (engine,) = children(gateway, "backend_engine")
    file = gateway.output.with_name("forebay.yaml")
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        stream = iter(
            client.chat.completions.create(
                model="smollm2",
                messages=[{"role": "user", "content": "Tell me a story."}],
                max_tokens=200,
                stream=True,
                extra_body={"ignore_eos": True},
            )
        )
        next(stream)
        file.write_text(CONFIG.replace("kv_memory_mb: 64", "kv_memory_mb: 48"))
        gateway.process.send_signal(signal.SIGHUP)
        until(gateway, lambda: "Took over" in gateway.output.read_text())
        reasons = [chunk.choices[0].finish_reason for chunk in stream if chunk.choices]
    assert reasons[-1] == "length"
    engine.wait(PATIENCE_S)
    (fresh,) = children(gateway, "backend_engine")
    assert "48" in fresh.cmdline()
    assert say(gateway, "Hello, other engine.")


def test_an_engine_that_does_not_start_keeps_the_one_before(gateway: GatewayProcess) -> None:
    (engine,) = children(gateway, "backend_engine")
    file = gateway.output.with_name("forebay.yaml")
    broken = file.with_name("broken.gguf")
    broken.write_bytes(b"GGUF, but not really")
    file.write_text(CONFIG.replace("smollm2-135m-instruct", str(broken)))
    gateway.process.send_signal(signal.SIGHUP)
    until(gateway, lambda: "config_rejected" in gateway.output.read_text())
    assert "the engine 'engine' did not start" in gateway.output.read_text()
    assert say(gateway, "Still there?")
    assert [e.pid for e in children(gateway, "backend_engine")] == [engine.pid]


def test_nothing_outlives_a_parent_that_was_killed(gateway: GatewayProcess) -> None:
    processes = psutil.Process(gateway.process.pid).children(recursive=True)
    assert len(processes) >= 3
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    _, alive = psutil.wait_procs(processes, 20)
    assert alive == []
