"""One gateway from its configuration to its exit: its sockets, engines and workers, and the signals to it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
import uvloop

from gateway.config.schema import Config, EngineUpstream
from gateway.engines import Engines, Generation
from gateway.errors import GatewayError
from gateway.messages import EngineChanged, Prepare
from gateway.models.pull import pull
from gateway.models.store import ModelStore
from gateway.reload import ReloadRequests, needs_restart
from gateway.screen import Screen
from gateway.semantic_process import SemanticProcesses
from gateway.sockets import bind, url_of
from gateway.upstreams.engine_process import EngineReport
from gateway.worker_process import in_a_process, in_this_process
from gateway.workers import Workers
from telemetry.logs import configure_logs, set_level
from telemetry.metrics.supervisor import SupervisorMetrics

Load = Callable[[], Config]
_STOP = (signal.SIGINT, signal.SIGTERM)
_log = structlog.get_logger("gateway.service")


def run(config: Config, file: Path | None, load: Load) -> None:
    """Serve until a signal comes; `load` reads the configuration again. Raises GatewayError."""
    configure_logs(config.telemetry.log_level)
    paths = local_models(config, ModelStore())
    uvloop.run(_Service(config, file, load).run(paths))


def local_models(config: Config, store: ModelStore) -> dict[str, str]:
    """Return the path of every engine's model, downloading what is not here. Raises ModelStoreError."""
    engines = [upstream for upstream in config.upstreams.values() if isinstance(upstream, EngineUpstream)]
    return {engine.model: str(pull(engine.model, store, quiet_if_present=True)) for engine in engines}


class _Service:
    def __init__(self, config: Config, file: Path | None, load: Load) -> None:
        self._config = config
        self._file = file
        self._load = load
        self._screen = Screen(config, file)
        self._metrics = SupervisorMetrics()
        self._engines = Engines(self._engine_changed)
        self._semantics = SemanticProcesses(self._metrics)
        self._fresh: set[int] = set()
        """Engines that a configuration needs which is not in effect yet."""
        self._fresh_semantic: int | None = None
        """The same for its semantic process."""
        self._workers: Workers | None = None
        self._on_terminal = sys.stdout.isatty()

    async def run(self, paths: dict[str, str]) -> None:
        server = self._config.server
        sockets = bind(server.host, server.port, server.workers)
        stop = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []
        try:
            engines = self._engines.of(self._config, paths, {})
            first = Generation(0, self._config, engines, self._semantics.of(self._config, None))
            # One worker runs in this process: supervised in the same way, it costs nothing more.
            start = in_a_process if server.workers > 1 else in_this_process
            workers = self._workers = Workers(sockets, start, first, self._prepare, self._metrics)
            workers.released = lambda: tasks.append(asyncio.create_task(self._end_engines()))
            self._heed_signals(stop, tasks)
            workers.start()
            ended = asyncio.create_task(workers.ended())
            tasks.append(asyncio.create_task(self._tell_url(url_of(sockets[0], server.host))))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if ended.done():
                ended.result()
            for task in tasks:
                task.cancel()
            server = self._config.server
            self._screen.draining(server.drain_s)
            workers.not_ready()
            await asyncio.sleep(server.drain_delay_s)
            # First here: a socket that some process still holds goes on taking connections.
            for listener in sockets:
                listener.close()
            await workers.finish(server.drain_s)
        finally:
            for task in tasks:
                task.cancel()
            for listener in sockets:
                listener.close()
            if self._workers is not None:
                await self._workers.kill()
            await asyncio.gather(self._engines.keep_only(()), self._semantics.keep_only(()))

    def _heed_signals(self, stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
        loop = asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            if stop.is_set():
                # Workers and engines see that we are gone.
                os._exit(128 + number)
            stop.set()

        for number in _STOP:
            loop.add_signal_handler(number, end, number)
        asked = ReloadRequests(self._file) if self._file is not None else None

        def hang_up() -> None:
            if self._on_terminal and not sys.stdout.isatty():
                # Not a wish for a reload: the terminal has been closed.
                end(signal.SIGHUP)
            elif asked is not None:
                asked.ask()
            else:
                _log.warning("config_not_read_again", reason="there is no configuration file")

        loop.add_signal_handler(signal.SIGHUP, hang_up)
        if asked is not None:
            tasks += [asyncio.create_task(asked.watch()), asyncio.create_task(self._reload(asked))]

    async def _tell_url(self, url: str) -> None:
        assert self._workers is not None
        await self._workers.all_serving.wait()
        self._screen.listening(url)

    def _engine_changed(self, number: int, report: EngineReport) -> None:
        self._screen.engine_changed(report.name, report.state, report.why)
        if self._workers is not None:
            self._workers.tell(EngineChanged(number, report))

    async def _reload(self, asked: ReloadRequests) -> None:
        while True:
            await asked.next()
            try:
                taken = await self._take_over()
            except GatewayError as error:
                self._metrics.reloads.labels("rejected").inc()
                _log.error("config_rejected", reason=str(error))
            except Exception as error:
                # A fault of ours: this file is not taken, but the next one may be.
                self._metrics.reloads.labels("rejected").inc()
                _log.error("config_rejected", exc_info=error)
            else:
                if taken:
                    self._metrics.reloads.labels("taken").inc()
                    self._screen.config_taken(self._config)

    async def _take_over(self) -> bool:
        """Read the configuration and let all workers switch to it; returns whether it is another one."""
        workers = self._workers
        assert workers is not None
        config = await asyncio.to_thread(self._load)
        if fixed := needs_restart(self._config, config):
            raise GatewayError(f"{', '.join(fixed)} cannot change while the gateway runs: restart it")
        if config == self._config:
            return False
        paths = await asyncio.to_thread(local_models, config, ModelStore())
        engines = self._engines.of(config, paths, workers.current.engines)
        try:
            # Requests are not sent to an engine that may never start; the one before serves until then.
            self._fresh = set(engines.values()) - set(workers.current.engines.values())
            refusal = await self._engines.refusal(self._fresh)
            if refusal is None:
                semantic = self._fresh_semantic = self._semantics.of(config, workers.current.semantic)
                following = Generation(workers.current.number + 1, config, engines, semantic)
                refusal = await workers.take_over(following)
            if refusal is not None:
                raise GatewayError(refusal)
            self._config = config
            set_level(config.telemetry.log_level)
        finally:
            self._fresh, self._fresh_semantic = set(), None
            await self._end_engines()
        return True

    async def _end_engines(self) -> None:
        """End the engines that no request and no configuration needs any more."""
        assert self._workers is not None
        await self._engines.keep_only(self._workers.engines_in_use() | self._fresh)
        semantics = self._workers.semantics_in_use()
        if self._fresh_semantic is not None:
            semantics.add(self._fresh_semantic)
        await self._semantics.keep_only(semantics)

    def _prepare(self, generation: Generation) -> Prepare:
        return self._engines.prepare(generation, self._semantics.socket(generation.semantic))
