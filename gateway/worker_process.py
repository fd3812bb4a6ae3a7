"""Where a worker runs: in a process of its own, or beside its supervisor if it is the only one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from gateway.link import Link

_log = structlog.get_logger("gateway.workers")


class Running(Protocol):
    """A worker that has been started."""

    pid: int | None

    async def wait(self) -> int:
        """Wait for its end and return the exit status; negative: the signal that ended it."""

    def kill(self) -> None:
        """End it at once."""


StartWorker = Callable[[socket.socket, Sequence[socket.socket]], Awaitable[Running]]
"""Starts a worker on its end of a socket pair and the listening sockets."""


class _Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid: int | None = process.pid

    async def wait(self) -> int:
        return await self._process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


async def in_a_process(end: socket.socket, sockets: Sequence[socket.socket]) -> Running:
    """Start a worker as a child. Not by fork: the supervisor runs an event loop and has threads."""
    fds = [end.fileno(), *(listener.fileno() for listener in sockets)]
    with end:
        process = await asyncio.create_subprocess_exec(
            # -P: a folder called gateway where the user happens to stand is not ours to run.
            *(sys.executable, "-P", "-m", "gateway.worker", *map(str, fds)),
            # It closes when we die, however that happens, and the worker leaves.
            stdin=asyncio.subprocess.PIPE,
            pass_fds=fds,
            # Ctrl-C in a terminal goes to every process of its session: ours decides what it means.
            start_new_session=True,
        )
    return _Process(process)


class _Task:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self.pid: int | None = os.getpid()
        self._task = task

    async def wait(self) -> int:
        await asyncio.wait([self._task])
        if self._task.cancelled():
            return 1
        if (error := self._task.exception()) is not None:
            _log.error("worker_failed", exc_info=error)
            return 1
        return 0

    def kill(self) -> None:
        self._task.cancel()


async def in_this_process(end: socket.socket, sockets: Sequence[socket.socket]) -> Running:
    """Run a worker in the running event loop: a gateway of one worker needs no second process."""
    # Imported here: the supervisor of processes needs no HTTP stack of its own.
    from gateway.worker import Worker

    worker = Worker(await Link.over(end), sockets)
    return _Task(asyncio.create_task(worker.run(), name="worker"))
