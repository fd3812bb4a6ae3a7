"""Starts the semantic process. Imports neither numpy nor torch: the gateway uses this module."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

from semantic_cache.errors import CacheError

STOP_GRACE_S = 5.0
READY_S = 120.0
EXIT_REFUSED = 1
"""The embedder or the store cannot be had now."""
EXIT_UNUSABLE = 3
"""A package is missing, or the options mean nothing: starting again would not help."""
EXIT_BROKEN = 4
"""Something happened that nobody foresaw; the log says what."""
READY, REFUSED = "ready", "refused: "
"""What the process says first: one of these, the second with the reason behind it."""
PACKAGES = ("numpy", "faiss", "tokenizers")
"""What the process imports and a gateway need not have."""
MODULE = "semantic_cache.semantic.service"


class SemanticOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one semantic process."""

    store: str
    """The cache's store; its URL may hold a password."""
    embedder: str = "minilm-l6"
    """The model's name: in the catalogue, of a sentence-transformers model, or at an upstream."""
    embedder_path: str | None = None
    """Where its weights lie on this machine."""
    embedder_url: str | None = None
    """Base URL of the upstream that embeds, if one does."""
    embedder_key: str | None = None
    max_entries: int = 100_000
    """Entries that the store may hold: the process writes to it, and whoever writes makes room."""
    max_mb: int = 1024
    """What they may take, in MiB."""
    candidates: int = 4
    """Stored questions that are looked at for one request."""
    index_mb: int = 1024
    """Memory for vectors, in MiB."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class SemanticStopped(CacheError):
    """The process ended, or was not ready in time. `status` is its exit status, if it has one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class SemanticProcess:
    """A running process."""

    process: asyncio.subprocess.Process

    async def wait(self) -> int:
        """Wait until the process ends and return its exit status."""
        return await self.process.wait()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask the process to leave, and end it if it has not within `grace_s` seconds."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), grace_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


async def launch(
    options: SemanticOptions, socket: Path, *, module: str = MODULE, ready_s: float = READY_S
) -> SemanticProcess:
    """Start a process that listens on `socket`, and return once it answers.

    Its options go through its standard input, since command lines are there for all to see; it stays open, so
    that the process sees us die, however that happens, and leaves with its socket and that one's directory.
    It prints one line: that it is ready, or why not. Raises SemanticStopped, OSError.
    """
    process = await asyncio.create_subprocess_exec(
        # -P: a folder called semantic_cache where the user happens to stand is not ours to run.
        *(sys.executable, "-P", "-m", module, os.fspath(socket)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C in a terminal goes to every process of its session: ours decides when this one stops.
        start_new_session=True,
    )
    running = SemanticProcess(process)
    assert process.stdin is not None and process.stdout is not None
    try:
        async with asyncio.timeout(ready_s):
            with contextlib.suppress(ConnectionError):
                process.stdin.write(msgspec.json.encode(options) + b"\n")
                await process.stdin.drain()
            said = (await process.stdout.readline()).decode(errors="replace").strip()
            if said == READY:
                return running
            status = await process.wait()
    except TimeoutError:
        await running.stop(grace_s=1.0)
        raise SemanticStopped(f"it was not ready within {ready_s:.0f} s") from None
    except BaseException:
        await running.stop(grace_s=1.0)
        raise
    if said.startswith(REFUSED):
        raise SemanticStopped(said.removeprefix(REFUSED), status)
    raise SemanticStopped(f"it ended with status {status} before it was ready; its log says why", status)


def missing_package() -> str | None:
    """Return what to say if a package is missing that the process needs; None if all are there."""
    for name in PACKAGES:
        if find_spec(name) is None:
            return missing(name)
    return None


def missing(name: str | None) -> str:
    """Return the line about a package that is not there."""
    return f"the semantic cache needs {name}, which is not installed: pip install 'forebay[semantic]'"
