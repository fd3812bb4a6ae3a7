"""A whole gateway with its semantic process: MiniLM, the index and the decision that ships, two workers."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socketserver
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.support.gateway_process import GatewayProcess, running_gateway

CONFIG = """
server: {{workers: 2}}
upstreams: {{up: {{kind: openai, base_url: "{url}"}}}}
models: {{m: {{upstream: up}}}}
cache: {{semantic: {{embedder: minilm-l6, deadline_ms: 20000}}}}
telemetry: {{log_level: {log_level}}}
"""
MODULE = "semantic_cache.semantic.service"
PATIENCE_S = 60


class _Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": "Lima."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        body = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Upstream) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


@pytest.fixture(scope="module")
def gateway(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    config = CONFIG.format(url=upstream, log_level="warning")
    # Sockets' directories are made where temporary files are: in a place of the test's own, nothing is left.
    (folder / "tmp").mkdir()
    state = f"sqlite://{folder}/state.db"
    with running_gateway(folder, config, FOREBAY__STATE__STORE=state, TMPDIR=str(folder / "tmp")) as gateway:
        yield gateway


def processes(gateway: GatewayProcess) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(gateway.process.pid).children(recursive=True):
        try:
            if MODULE in child.cmdline():
                found.append(child)
        except psutil.Error:
            # Dead, but nobody has noticed yet.
            continue
    return found


def until(gateway: GatewayProcess, what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError(gateway.output.read_text()[-3000:])


def ask(gateway: GatewayProcess, text: str, **headers: str) -> str:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions", body, {"content-type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["choices"][0]["message"]["content"] == "Lima."
        return str(answer.headers["x-forebay-cache"])


def metric(gateway: GatewayProcess, name: str, *labels: str) -> float:
    with urllib.request.urlopen(f"{gateway.url}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    found = [line for line in lines if line.startswith(name) and all(label in line for label in labels)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def answers(gateway: GatewayProcess) -> bool:
    """Ask something new; say whether the process was there to be asked."""
    before = metric(gateway, "forebay_semantic_calls_total", 'outcome="answered"')
    ask(
        gateway,
        f"How many herons live on island number {time.monotonic_ns()}?",
        **{"cache-control": "no-store"},
    )
    return metric(gateway, "forebay_semantic_calls_total", 'outcome="answered"') > before


def test_one_process_serves_all_workers_and_finds_what_is_near(gateway: GatewayProcess) -> None:
    until(gateway, lambda: answers(gateway))
    assert len(processes(gateway)) == 1
    assert ask(gateway, "What is the capital city of Peru?") == "miss"
    until(gateway, lambda: metric(gateway, "forebay_semantic_admissions_total", '"stored"') >= 1)

    # Some hits are answered afresh to see whether they are right; which, the question's digest decides.
    others = ("what is the capital city of peru", "What is the capital city of Peru", "Capital city of Peru?")
    fresh = {"cache-control": "no-store"}
    until(gateway, lambda: "hit-semantic" in [ask(gateway, other, **fresh) for other in others])
    # Another number is another question, whatever the vectors say.
    assert ask(gateway, "What are the 3 largest cities of Peru?") == "miss"
    assert ask(gateway, "What are the 4 largest cities of Peru?") == "miss"


def test_it_is_started_again_and_what_was_stored_is_still_known(gateway: GatewayProcess) -> None:
    (before,) = processes(gateway)
    before.kill()
    assert ask(gateway, "Who painted the harbour wall?") == "miss"
    until(gateway, lambda: [process.pid for process in processes(gateway)] not in ([], [before.pid]))
    until(gateway, lambda: answers(gateway))
    assert metric(gateway, "forebay_semantic_restarts_total") == 1


def test_a_reload_keeps_it_unless_it_is_meant(gateway: GatewayProcess, upstream: str) -> None:
    (before,) = processes(gateway)
    file = gateway.output.with_name("forebay.yaml")
    file.write_text(CONFIG.format(url=upstream, log_level="error"))
    gateway.process.send_signal(signal.SIGHUP)
    until(gateway, lambda: gateway.output.read_text().count("Took over") == 1)
    assert [process.pid for process in processes(gateway)] == [before.pid]
    until(gateway, lambda: answers(gateway))
    file.write_text(
        CONFIG.format(url=upstream, log_level="error").replace("deadline_ms", "candidates: 3, deadline_ms")
    )
    gateway.process.send_signal(signal.SIGHUP)
    until(gateway, lambda: gateway.output.read_text().count("Took over") == 2)
    until(gateway, lambda: [process.pid for process in processes(gateway)] not in ([], [before.pid]))
    until(gateway, lambda: len(processes(gateway)) == 1)
    until(gateway, lambda: answers(gateway))


def test_nothing_of_it_outlives_a_gateway_that_was_killed(gateway: GatewayProcess) -> None:
    directories = list((gateway.output.parent / "tmp").glob("forebay-*"))
    assert [oct(directory.stat().st_mode & 0o777) for directory in directories] == ["0o700"]
    children = psutil.Process(gateway.process.pid).children(recursive=True)
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    _, alive = psutil.wait_procs(children, 20)
    assert alive == []
    assert not any((gateway.output.parent / "tmp").glob("forebay-*"))
