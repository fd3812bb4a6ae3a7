"""Starts a real `forebay serve` for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_S = 60
STOP_S = 40
# Nothing of the developer's own environment may decide what a test sees.
_UNSET = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT")


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class GatewayProcess:
    """A running `forebay serve`; what it printed is in the file `output`."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def wait_until_ready(self) -> None:
        """Wait until `/health/ready` says yes, the supervised engine included."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        raise AssertionError(f"not ready after {READY_S} s:\n{self.output.read_text()[-3000:]}")

    def stop(self) -> None:
        """Ask it to end, and see that it does so properly."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_S) == 0, self.output.read_text()[-3000:]


@contextmanager
def running_gateway(folder: Path, config: str | None = None, **environ: str) -> Iterator[GatewayProcess]:
    """Run a gateway in `folder` with `config` (YAML; None: no configuration) while the block lasts."""
    port = free_port()
    if config is not None:
        (folder / "forebay.yaml").write_text(config)
    command = [sys.executable, "-c", "from gateway.cli import main; main()", "serve", "--port", str(port)]
    env = {key: value for key, value in os.environ.items() if key not in _UNSET}
    # The child finds the packages by path: it runs in another folder, as a user's would.
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    if "cache:" not in (config or ""):
        # A process more for every gateway, where it is not the point.
        env["FOREBAY__CACHE__SEMANTIC"] = "null"
    output = folder / "gateway.log"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=folder, env={**env, **environ}, stdout=sink, stderr=subprocess.STDOUT
        )
    gateway = GatewayProcess(f"http://127.0.0.1:{port}", process, output)
    try:
        gateway.wait_until_ready()
        yield gateway
        if process.poll() is None:
            gateway.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
