"""The gateways under comparison as processes on one core, each in front of the same mock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import environments
from benchmarks.peers import mock_openai

CLIENT_KEY = "fb-bench-client"
LITELLM = "litellm[proxy]==1.101.0"
PORTKEY = "@portkey-ai/gateway@1.15.2"
START_S = 120.0


@dataclass(slots=True)
class Running:
    """A started gateway: the process to account for, where it listens and what it wants in each request."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the mock is, the core for the gateways (None: any), and a folder for their files."""

    mock: str
    core: int | None
    folder: Path

    @contextlib.contextmanager
    def start(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        *,
        ready: str = "/",
        headers: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        core: int | None = None,
    ) -> Iterator[Running]:
        """Run a command on the core until the block ends. Raises PeerUnavailable if it does not answer.

        `ready` is a path that is answered once it is; empty for a server that does not speak HTTP.
        """
        log = self.folder / f"{name}.log"
        core = self.core if core is None else core
        pin = None if core is None else partial(os.sched_setaffinity, 0, {core})
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**_clean_environ(), **(env or {})},
                preexec_fn=pin,
            )
        running = Running(name, process, f"http://127.0.0.1:{port}", log, headers or {})
        try:
            _wait(running, ready)
            yield running
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def forebay(
    bench: Bench, name: str, *, traced: bool, store: str | None
) -> contextlib.AbstractContextManager[Running]:
    """Run ours: bare of all hops, or with keys, limits and the exact cache in `store`."""
    port = free_port()
    config = [
        f"server: {{port: {port}, drain_s: 1}}",
        f"upstreams: {{mock: {{kind: openai, base_url: '{bench.mock}/v1', api_key: {mock_openai.KEY}}}}}",
        f"models: {{{mock_openai.MODEL}: {{upstream: mock, price: {{input: 1, output: 2}}}}}}",
        f"telemetry: {{otlp_endpoint: '{bench.mock}', sample: 1.0}}"
        if traced
        else "telemetry: {sample: 0.0}",
    ]
    if store is None:
        config.append("cache: null")
    else:
        digest = hashlib.sha256(CLIENT_KEY.encode()).hexdigest()
        state = store.replace("cache.db", "state.db")
        config += [
            f"cache: {{store: '{store}', semantic: null}}",
            f"state: {{store: '{state}'}}",
            f"tenants: [{{name: bench, key_hash: 'sha256:{digest}', "
            "limits: {rpm: 100000000, tpm: 1000000000000, usd_per_day: 1000000}}]",
        ]
    file = bench.folder / f"{name}.yaml"
    file.write_text("\n".join(config))
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "serve", "--config", str(file)]
    headers = {"authorization": f"Bearer {CLIENT_KEY}"}
    return bench.start(name, command, port, ready="/health/ready", headers=headers)


def bare(bench: Bench, kind: str) -> contextlib.AbstractContextManager[Running]:
    """Run aiohttp with nothing around it."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.peers.bare_aiohttp", kind, str(port), bench.mock]
    return bench.start(f"aiohttp-{kind}", command, port)


def mock(bench: Bench, core: int) -> contextlib.AbstractContextManager[Running]:
    """Run the upstream of them all, on the load generator's core."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.peers.mock_openai", str(port)]
    headers = {"authorization": f"Bearer {mock_openai.KEY}"}
    return bench.start("mock", command, port, ready="/count", headers=headers, core=core)


_NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi; uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  upstream mock {{ server {mock}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_set_header Authorization "Bearer {key}";
    }}
  }}
}}
"""


def nginx(bench: Bench) -> contextlib.AbstractContextManager[Running]:
    """Run nginx as a reverse proxy that does not collect a stream before it passes it on."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise environments.PeerUnavailable("nginx is not installed (Debian: apt-get install nginx-light)")
    port = free_port()
    file = bench.folder / "nginx.conf"
    address = bench.mock.removeprefix("http://")
    file.write_text(_NGINX.format(folder=bench.folder, mock=address, port=port, key=mock_openai.KEY))
    return bench.start("nginx", [program, "-c", str(file), "-p", str(bench.folder)], port, ready="/count")


def litellm(bench: Bench) -> contextlib.AbstractContextManager[Running]:
    """Run LiteLLM's proxy with one worker, no retries and no database."""
    python = environments.python_with([LITELLM])
    port = free_port()
    params = {
        "model": f"openai/{mock_openai.MODEL}",
        "api_base": f"{bench.mock}/v1",
        "api_key": mock_openai.KEY,
    }
    config = {
        "model_list": [{"model_name": mock_openai.MODEL, "litellm_params": params}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
    }
    file = bench.folder / "litellm.yaml"
    file.write_text(json.dumps(config))
    command = [
        str(python.parent / "litellm"),
        "--config",
        str(file),
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    # The production settings of its own documentation; and its price list is the one it ships.
    env = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command += ["--host", "127.0.0.1"]
    return bench.start("litellm", command, port, ready="/health/liveliness", env=env)


def portkey(bench: Bench) -> contextlib.AbstractContextManager[Running]:
    """Run Portkey's gateway; each request says where it goes."""
    packages = environments.node_with([PORTKEY])
    port = free_port()
    script = packages / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {
        "authorization": f"Bearer {mock_openai.KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{bench.mock}/v1",
    }
    command = [environments.program("node", "nodejs"), str(script), f"--port={port}", "--headless"]
    return bench.start("portkey", command, port, headers=headers, env={"NODE_ENV": "production"})


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _clean_environ() -> dict[str, str]:
    # Proxies, keys and tracing of whoever runs this must not decide what is compared.
    foreign = ("OTEL_", "OPENAI_", "FOREBAY_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environ = {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}
    return {**environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def _wait(running: Running, path: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            if not path:
                address = running.url.removeprefix("http://").split(":")
                socket.create_connection((address[0], int(address[1])), timeout=5).close()
                return
            with urllib.request.urlopen(running.url + path, timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.05)
    raise environments.PeerUnavailable(f"{running.name} does not run:\n{running.log.read_text()[-2000:]}")
