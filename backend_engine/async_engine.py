"""Runs the engine in a thread of its own and gives asyncio one stream per API call.

The loop thread is the only one that touches the engine. Requests and aborts reach it through an inbox;
its outputs go back in one call per step, so that a step costs the event loop one wake-up however many
sequences it advanced.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import structlog

from backend_engine.engine import Engine, EngineStats, TokenOutput
from backend_engine.errors import DeadlineExceeded, EngineError, EngineStopped
from backend_engine.kv.events import KvEvent, KvEventReader
from backend_engine.request import Request

_log = structlog.get_logger("engine")

Deliver = Callable[[Sequence[KvEvent]], None]


@dataclass(frozen=True, slots=True)
class _Add:
    request: Request


@dataclass(frozen=True, slots=True)
class _Abort:
    request: Request


@dataclass(frozen=True, slots=True)
class _Watch:
    deliver: Deliver


@dataclass(frozen=True, slots=True)
class _Unwatch:
    deliver: Deliver


class _Stop:
    pass


_Command = _Add | _Abort | _Watch | _Unwatch | _Stop


class AsyncEngine:
    """Streams of tokens over one `Engine`; `on_death` is called in the event loop if its thread fails."""

    def __init__(self, engine: Engine, *, on_death: Callable[[], None] | None = None) -> None:
        self._engine = engine
        self._on_death = on_death
        self._inbox: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._streams: dict[Request, asyncio.Queue[TokenOutput | EngineError]] = {}
        self._watchers: set[KvEventReader] = set()
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
        await asyncio.to_thread(self._engine.close)

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

    async def kv_events(self, idle_s: float) -> AsyncGenerator[list[KvEvent]]:
        """Yield a snapshot of the prefix cache, then its changes, and an empty list after `idle_s` of quiet.

        Ends when the engine does, or by `end_kv_events`.
        """
        reader = KvEventReader()

        def deliver(events: Sequence[KvEvent]) -> None:
            self._to_loop(reader.push, events)

        if self._stopped is not None:
            return
        self._watchers.add(reader)
        self._inbox.put(_Watch(deliver))
        try:
            while self._stopped is None and reader in self._watchers:
                events: list[KvEvent] = []
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(idle_s):
                        events = await reader.take()
                if any(event.kind == "lag" for event in events):
                    self._inbox.put(_Watch(deliver))
                yield events
        finally:
            self._watchers.discard(reader)
            self._inbox.put(_Unwatch(deliver))

    def end_kv_events(self) -> None:
        """End all streams of `kv_events`: a server that drains must not wait for them."""
        for reader in self._watchers:
            reader.wake()
        self._watchers.clear()

    def _run(self) -> None:
        try:
            while self._read_inbox():
                for request in self._engine.expire():
                    self._to_loop(self._refuse, request, _deadline_exceeded(request))
                outputs = self._engine.step()
                self._engine.kv_events.flush()
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
            if isinstance(command, _Watch):
                self._engine.watch_kv(command.deliver)
                continue
            if isinstance(command, _Unwatch):
                self._engine.kv_events.remove_reader(command.deliver)
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
        self.end_kv_events()


def _deadline_exceeded(request: Request) -> DeadlineExceeded:
    done = f"{request.num_output_tokens} of at most {request.params.max_tokens} tokens"
    return DeadlineExceeded(f"The request's deadline passed after {done}.")
