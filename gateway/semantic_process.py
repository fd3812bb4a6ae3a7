"""The semantic processes of a gateway: one for all workers, kept when a new configuration leaves it alone.

Unlike an engine it is never waited for: while it starts, or if it cannot, requests go on without its hits.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path

import msgspec
import structlog

from gateway.config.schema import Config, OpenAIUpstream, SemanticConfig
from gateway.embedder_files import fetched_aside
from gateway.models.errors import ModelStoreError
from gateway.upstreams.engine_process import RestartPauses
from semantic_cache.semantic.launcher import (
    EXIT_UNUSABLE,
    SemanticOptions,
    SemanticProcess,
    SemanticStopped,
    launch,
    missing_package,
)
from telemetry.metrics.supervisor import SupervisorMetrics

Locate = Callable[[SemanticConfig], Awaitable[str | None]]
Launch = Callable[[SemanticOptions, Path], Awaitable[SemanticProcess]]
_PAUSES = RestartPauses(first=0.5, last=120.0, stable=30.0)
_EFFECT = "requests go on without that tier"
_log = structlog.get_logger("gateway.semantic")


def semantic_options(config: Config, path: str | None = None) -> SemanticOptions | None:
    """Return what the process of a configuration needs to know, None if it needs no process.

    `path` is where the embedder's model lies on this machine.
    """
    cache = config.cache
    if cache is None or cache.semantic is None:
        return None
    semantic, url, key = cache.semantic, None, None
    if semantic.upstream is not None:
        upstream = config.upstreams[semantic.upstream]
        assert isinstance(upstream, OpenAIUpstream)
        url, key = upstream.base_url, None if upstream.api_key is None else upstream.api_key.reveal()
    return SemanticOptions(
        store=cache.store.reveal(),
        max_entries=cache.max_entries,
        max_mb=cache.max_mb,
        embedder=semantic.embedder,
        embedder_path=path,
        embedder_url=url,
        embedder_key=key,
        candidates=semantic.candidates,
        index_mb=semantic.index_mb,
        log_level=config.telemetry.log_level,
    )


class SemanticProcesses:
    """Starts and ends semantic processes; each has a number, and a socket in a directory of its own."""

    def __init__(
        self, metrics: SupervisorMetrics, *, launch: Launch = launch, locate: Locate = fetched_aside
    ) -> None:
        """`locate` returns where an embedder lies on this machine; it may take its time."""
        self._locate = locate
        self._metrics = metrics
        self._launch = launch
        self._processes: dict[int, SupervisedSemantic] = {}
        self._next = 0

    def of(self, config: Config, before: int | None) -> int | None:
        """Return the process that a configuration needs: that of `before`, or another if it differs."""
        options = semantic_options(config)
        if options is None or config.cache is None or config.cache.semantic is None:
            return None
        if before is not None and _alike(self._processes[before].options, options):
            return before
        number, self._next = self._next, self._next + 1
        locate = partial(self._locate, config.cache.semantic)
        process = SupervisedSemantic(options, self._metrics, self._launch, locate)
        self._processes[number] = process
        process.start()
        return number

    def socket(self, number: int | None) -> str | None:
        """Return where a process listens, or will."""
        return None if number is None else str(self._processes[number].socket)

    async def keep_only(self, numbers: Collection[int]) -> None:
        """End all other processes."""
        gone = [self._processes.pop(number) for number in self._processes.keys() - set(numbers)]
        await asyncio.gather(*(process.close() for process in gone))


class SupervisedSemantic:
    """One process: started, watched, and started again on the same socket."""

    def __init__(
        self,
        options: SemanticOptions,
        metrics: SupervisorMetrics,
        launch: Launch,
        locate: Callable[[], Awaitable[str | None]],
        pauses: RestartPauses = _PAUSES,
    ) -> None:
        self.options = options
        # Private (0700), and short: a Unix socket's path has at most 107 bytes.
        self.socket = Path(tempfile.mkdtemp(prefix="forebay-")) / "s"
        self._metrics = metrics
        self._launch = launch
        self._locate = locate
        self._pauses = pauses
        self.running: SemanticProcess | None = None
        self.given_up = False
        """Whether a package is missing, so that it is not tried again."""
        self._supervisor: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the process; it takes its time."""
        self._supervisor = asyncio.create_task(self._supervise(), name="supervisor of the semantic process")

    async def close(self) -> None:
        """End the process."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self.running is not None:
            await self.running.stop()
        await asyncio.to_thread(shutil.rmtree, self.socket.parent, True)

    async def _supervise(self) -> None:
        if (reason := missing_package()) is not None:
            self._give_up(reason)
            return
        pause, told = self._pauses.first, False
        while True:
            try:
                failure = await self._start()
            except SemanticStopped as error:
                self._give_up(str(error))
                return
            if failure is None and self.running is not None:
                _log.log(logging.WARNING if told else logging.INFO, "semantic_ready")
                told = False
                since = time.monotonic()
                status = await self.running.wait()
                self.running = None
                if time.monotonic() - since >= self._pauses.stable:
                    pause = self._pauses.first
                _log.error("semantic_failed", reason=f"it ended with status {status}", next_try_s=pause)
            elif not told:
                # Once: whatever it is may last.
                told = True
                _log.error("semantic_unavailable", reason=failure, effect=_EFFECT, next_try_s=pause)
            self._metrics.semantic_restarts.inc()
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._pauses.last)

    async def _start(self) -> str | None:
        """Start the process; returns why it could not be. Raises SemanticStopped if it never can."""
        try:
            own(self.socket.parent)
            options = msgspec.structs.replace(self.options, embedder_path=await self._locate())
            self.running = await self._launch(options, self.socket)
        except SemanticStopped as error:
            if error.status == EXIT_UNUSABLE:
                raise
            return str(error)
        except ModelStoreError as error:
            return str(error)
        except OSError as error:
            return error.strerror or "it could not be started"
        return None

    def _give_up(self, reason: str) -> None:
        self.given_up = True
        _log.error("semantic_off", reason=reason, effect=_EFFECT)


def own(directory: Path) -> None:
    """See to it that a directory is there, is ours, and nobody else's to enter. Raises OSError.

    Whatever tidies temporary files may have taken it away, and anybody may have made one of its name since.
    """
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
    if not private or found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"{directory} is not a directory that is ours alone")


def _alike(one: SemanticOptions, other: SemanticOptions) -> bool:
    # Not worth reading everything again.
    return msgspec.structs.replace(one, log_level=other.log_level) == other
