"""Takes finished spans from the request path to the exporter process, without ever waiting for it.

    end() ──append──▶ SpanBuffer (bounded) ──flusher task, msgpack──▶ pipe ──▶ python -m telemetry.exporter

Wherever a stage is full, spans are dropped and counted. A collector that is down or slow can therefore cost
spans, never a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping

import structlog

from telemetry.records import frame
from telemetry.spans import RecordedSpan

BUFFER_SPANS = 8192
BATCH_SPANS = 256
FLUSH_EVERY_S = 0.2
RESTART_AFTER_S = 10.0
PIPE_BYTES = 1 << 20

_log = structlog.get_logger("telemetry.export")


class SpanBuffer:
    """Finished spans that wait for the flusher; spans may come from any thread."""

    __slots__ = ("_capacity", "_spans", "dropped")

    def __init__(self, capacity: int = BUFFER_SPANS) -> None:
        self._capacity = capacity
        self._spans: deque[RecordedSpan] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, span: RecordedSpan) -> None:
        """Keep `span`, or drop it if the buffer is full."""
        if len(self._spans) < self._capacity:
            self._spans.append(span)
        else:
            self.dropped += 1

    def take(self, limit: int) -> list[RecordedSpan]:
        """Remove and return up to `limit` spans, oldest first."""
        return [self._spans.popleft() for _ in range(min(limit, len(self._spans)))]


class Exporter:
    """The exporter process and the task that feeds it."""

    def __init__(self, buffer: SpanBuffer, environ: Mapping[str, str], each_tick: Callable[[], None]) -> None:
        """`environ` is the process's environment and holds its settings; `each_tick` precedes a flush."""
        self._buffer = buffer
        self._environ = dict(environ)
        self._each_tick = each_tick
        self._process = self._spawn()
        self._closing = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="telemetry-flusher")

    async def close(self, timeout_s: float) -> None:
        """Hand over what is left and let the process export it; give up after `timeout_s` seconds."""
        self._closing.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._task
                self._close_pipe()
                await asyncio.to_thread(self._process.wait, timeout_s)
        except (TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
        finally:
            self._task.cancel()
            self._close_pipe()
            await asyncio.to_thread(self._process.wait)
        self._buffer.dropped += len(self._buffer.take(len(self._buffer)))

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), FLUSH_EVERY_S)
            self._each_tick()
            try:
                await self._flush()
            except BrokenPipeError:
                await self._restart()
            if self._closing.is_set():
                return

    async def _flush(self) -> None:
        while spans := self._buffer.take(BATCH_SPANS):
            data, lost = frame(spans)
            self._buffer.dropped += lost
            try:
                await self._write(memoryview(data))
            except BaseException:
                self._buffer.dropped += len(spans) - lost
                raise

    async def _write(self, data: memoryview) -> None:
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        while data:
            try:
                data = data[os.write(pipe, data) :]
            except BlockingIOError:
                await _writable(pipe)

    async def _restart(self) -> None:
        self._close_pipe()
        status = await asyncio.to_thread(self._process.wait)
        _log.warning("span exporter ended; starting it again", status=status, after_s=RESTART_AFTER_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), RESTART_AFTER_S)
            return
        self._process = await asyncio.to_thread(self._spawn)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # -P: a folder called `telemetry` in the user's working directory must not be run instead of ours.
        # Its standard output is not ours to share: the engine's is a protocol with the gateway.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "telemetry.exporter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=self._environ,
            bufsize=0,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # over the user's pipe quota: the default size will do
                fcntl.fcntl(process.stdin.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return process

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


async def _writable(pipe: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(pipe, wake)
    try:
        await ready
    finally:
        loop.remove_writer(pipe)
