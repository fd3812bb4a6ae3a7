"""One worker: it answers requests, and does what its supervisor says.

It runs in a process of its own (`python -m gateway.worker`), or in the supervisor's event loop if it is the
only one; it cannot tell which.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
import uvloop

from gateway.app import build_gateway, build_upstreams
from gateway.drain import Drain
from gateway.errors import GatewayError
from gateway.front import Front, Running
from gateway.lasting import Lasting
from gateway.link import Link
from gateway.messages import (
    Accept,
    Answered,
    AskMetrics,
    AskSettled,
    EngineChanged,
    Finish,
    Forget,
    Message,
    NotReady,
    Prepare,
    Prepared,
    Question,
    Refused,
    Retired,
    Serving,
    Switch,
)
from gateway.server import Server
from gateway.siblings import Asked
from gateway.state.settled import SettledRequests
from gateway.upstreams.engine import EngineStatus
from gateway.upstreams.engine_process import EngineReport
from telemetry.logs import configure_logs, set_level
from telemetry.metrics import GatewayMetrics
from telemetry.metrics.merge import snapshot
from telemetry.setup import Telemetry, start_telemetry

SERVICE_NAME = "forebay-gateway"
SUPERVISORS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RETIRE_S = 5.0
_COLLECT_AFTER = 10_000
"""Objects more than there were at the last collection; Python's own number is 700."""
_log = structlog.get_logger("gateway.worker")


class Worker:
    """A gateway that its supervisor configures, opens and ends over a link."""

    def __init__(self, link: Link, sockets: Sequence[socket.socket]) -> None:
        """`sockets` are the listening ones of all workers; the supervisor says which to accept on."""
        self._link = link
        self._sockets = sockets
        self._telemetry: Telemetry | None = None
        self._lasting: Lasting | None = None
        self._engines: dict[int, EngineStatus] = {}
        self._prepared: dict[int, tuple[Prepare, Running]] = {}
        self._generation: int | None = None
        self._front: Front | None = None
        self._server: Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the supervisor says that it is enough, or is gone."""
        try:
            async for message in self._link.messages():
                await self._obey(message)
        finally:
            for _, running in self._prepared.values():
                await running.close()
            if self._server is not None:
                await self._server.close()
            for task in self._tasks:
                task.cancel()
            if self._telemetry is not None:
                await self._telemetry.close()
            self._link.close()

    async def _obey(self, message: Message) -> None:
        match message:
            case Prepare():
                await self._prepare(message)
            case Switch():
                await self._switch(message.generation)
            case Forget():
                if forgotten := self._prepared.pop(message.generation, None):
                    await forgotten[1].close()
            case EngineChanged():
                self._engine(message.number, message.report)
            case Accept():
                assert self._server is not None
                await self._server.accept(message.slots)
                self._link.send(Serving())
            case NotReady():
                self._keep().drain.draining = True
            case Finish():
                self._in_background(self._finish(message.drain_s))
            case Question():
                self._answer(message)
            case _:
                raise AssertionError(message)

    async def _prepare(self, message: Prepare) -> None:
        known = message.generation in self._prepared or message.generation == self._generation
        if not known:
            if self._telemetry is None:
                settings = message.config.telemetry
                self._telemetry = start_telemetry(SERVICE_NAME, settings.otlp_endpoint, settings.sample)
            engines = {
                name: self._engine(number, report) for name, (number, report) in message.engines.items()
            }
            upstreams = build_upstreams(message.config, engines)
            try:
                running = Running(
                    build_gateway(message.config, upstreams, self._telemetry, self._keep(), message.semantic)
                )
                await running.start()
            except Exception as error:
                # Whatever it is: the configuration before goes on.
                expected = isinstance(error, GatewayError)
                _log.error("configuration_refused", exc_info=None if expected else error, reason=str(error))
                self._link.send(Refused(message.generation, str(error) or type(error).__name__))
                return
            self._prepared[message.generation] = (message, running)
        self._link.send(Prepared(message.generation))

    async def _switch(self, generation: int) -> None:
        if generation == self._generation:
            return
        message, running = self._prepared.pop(generation)
        set_level(message.config.telemetry.log_level)
        before, self._generation = self._generation, generation
        if self._front is None:
            self._front = Front(running)
            self._server = Server(self._front, self._sockets)
            await self._server.start()
            _spare_what_stays()
        else:
            assert before is not None
            self._in_background(self._retire(before, self._front.replace(running)))

    async def _retire(self, generation: int, running: Running) -> None:
        await running.retire()
        self._link.send(Retired(generation))

    async def _finish(self, drain_s: float) -> None:
        if self._server is not None:
            await self._server.accept([])
        for listener in self._sockets:
            listener.close()
        await self._keep().drain.finish(drain_s)
        if retiring := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(retiring, timeout=_RETIRE_S)
        # `run` sees the end of the link, and leaves.
        self._link.close()

    def _engine(self, number: int, report: EngineReport) -> EngineStatus:
        status = self._engines.setdefault(number, EngineStatus())
        if (status.state, status.url) != (report.state, report.url):
            status.update(report.state, report.url)
        return status

    def _keep(self) -> Lasting:
        if self._lasting is None:
            metrics = GatewayMetrics(self._telemetry.dropped if self._telemetry is not None else None)
            settled = SettledRequests()
            self._lasting = Lasting(metrics, settled, Drain(), Asked(self._link, settled))
        return self._lasting

    def _answer(self, question: Question) -> None:
        match question.subject:
            case AskMetrics():
                self._link.send(Answered(question.number, snapshot(self._keep().metrics.registry)))
            case AskSettled(request_id):
                self._link.send(Answered(question.number, self._keep().settled.get(request_id)))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _spare_what_stays() -> None:
    """Keep the garbage collector off what lives as long as the process, and from running every few requests.

    A request leaves some hundred objects and no cycles, so by default an eighth of all CPU time went into
    looking for some. A request that fails may leave one (its error holds the frames that hold its body), so
    the collector stays on.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def main(link_fd: int, *socket_fds: int) -> None:
    """Run a worker over inherited descriptors. Standard input is a pipe that the supervisor holds."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    configure_logs("warning")
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket(fileno=fd)) for fd in socket_fds]
        uvloop.run(_serve(socket.socket(fileno=link_fd), sockets))


async def _serve(end: socket.socket, sockets: Sequence[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    for number in SUPERVISORS_SIGNALS:
        # Some process managers signal every process of a service; what it means is the supervisor's to say.
        loop.add_signal_handler(number, lambda: None)
    await Worker(await Link.over(end), sockets).run()


def _leave_with_parent() -> None:
    # A thread, not the event loop: it must work while that is busy or stuck.
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
