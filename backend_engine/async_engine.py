"""Runs the engine in a thread of its own and gives asyncio one stream per API call.

The loop thread is the only one that touches the engine. Requests and aborts reach it through an inbox;
its outputs go back in one call per step, so that a step costs the event loop one wake-up however many
sequences it advanced.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import structlog

from backend_engine.engine import Engine, EngineStats, TokenOutput
from backend_engine.errors import DeadlineExceeded, EngineError, EngineStopped
from backend_engine.request import Request

_log = structlog.get_logger("engine")


@dataclass(frozen=True, slots=True)
class _Add:
    request: Request


@dataclass(frozen=True, slots=True)
class _Abort:
    request: Request


class _Stop:
    pass


_Command = _Add | _Abort | _Stop


class AsyncEngine:
    """Streams of tokens over one `Engine`; `on_death` is called in the event loop if its thread fails."""

    def __init__(self, engine: Engine, *, on_death: Callable[[], None] | None = None) -> None:
        self._engine = engine
        self._on_death = on_death
        self._inbox: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._streams: dict[Request, asyncio.Queue[TokenOutput | EngineError]] = {}
        self._stopped: EngineStopped | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the engine's thread; call it from the event loop that will consume the streams."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread after its current step; streams still open fail with EngineStopped."""
        self._inbox.put(_Stop())
        await asyncio.to_thread(self._thread.join)
        self._fail_streams(EngineStopped("the engine is shutting down"))

    @property
    def healthy(self) -> bool:
        return self._stopped is None and self._thread.is_alive()

    def stats(self) -> EngineStats:
        """Read the engine's counters; they are plain integers, so a torn reading is at most a step old."""
        return self._engine.stats()

    async def generate(self, requests: Sequence[Request]) -> AsyncGenerator[TokenOutput]:
        """Run `requests` and yield their tokens as they come; leaving early, however, aborts them.

        Raises what `Engine.add` raises for any of them, DeadlineExceeded or EngineStopped.
        """
        if self._stopped is not None:
            raise self._stopped
        stream: asyncio.Queue[TokenOutput | EngineError] = asyncio.Queue()
        unfinished = dict.fromkeys(requests)
        try:
            for request in requests:
                self._streams[request] = stream
                self._inbox.put(_Add(request))
            while unfinished:
                output = await stream.get()
                if isinstance(output, EngineError):
                    raise output
                if output.finish_reason is not None:
                    del unfinished[output.request]
                yield output
        finally:
            for request in requests:
                self._streams.pop(request, None)
            for request in unfinished:
                self._inbox.put(_Abort(request))

    def _run(self) -> None:
        try:
            while self._read_inbox():
                for request in self._engine.expire():
                    self._to_loop(self._refuse, request, _deadline_exceeded(request))
                outputs = self._engine.step()
                if outputs:
                    self._to_loop(self._deliver, outputs)
        except BaseException as error:
            _log.exception("engine_died")
            self._to_loop(self._die, error)

    def _read_inbox(self) -> bool:
        """Take in all commands, waiting for one if there is nothing to compute; False means stop."""
        while True:
            try:
                command = self._inbox.get(block=not self._engine.has_work)
            except queue.Empty:
                return True
            if isinstance(command, _Stop):
                return False
            if isinstance(command, _Abort):
                self._engine.abort(command.request)
                continue
            try:
                self._engine.add(command.request)
            except EngineError as error:
                self._to_loop(self._refuse, command.request, error)

    def _to_loop(self, callback: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)

    def _deliver(self, outputs: list[TokenOutput]) -> None:
        for output in outputs:
            stream = self._streams.get(output.request)
            if stream is not None:
                stream.put_nowait(output)

    def _refuse(self, request: Request, error: EngineError) -> None:
        stream = self._streams.get(request)
        if stream is not None:
            stream.put_nowait(error)

    def _die(self, error: BaseException) -> None:
        self._fail_streams(EngineStopped(f"the engine failed: {type(error).__name__}"))
        if self._on_death:
            self._on_death()

    def _fail_streams(self, error: EngineStopped) -> None:
        self._stopped = error
        for stream in set(self._streams.values()):
            stream.put_nowait(error)


def _deadline_exceeded(request: Request) -> DeadlineExceeded:
    done = f"{request.num_output_tokens} of at most {request.params.max_tokens} tokens"
    return DeadlineExceeded(f"The request's deadline passed after {done}.")
