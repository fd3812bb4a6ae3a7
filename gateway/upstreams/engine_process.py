"""The bundled engine's process: started, watched, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from backend_engine.errors import EngineStopped
from backend_engine.launcher import EXIT_MODEL, EngineOptions, EngineProcess, launch
from gateway.upstreams.base import State

Launch = Callable[[EngineOptions], Awaitable[EngineProcess]]

_log = structlog.get_logger("gateway.engine")


@dataclass(frozen=True, slots=True)
class EngineReport:
    """A change of an engine: its new state, its base address if it is ready, and a word about why."""

    name: str
    state: State
    url: str = ""
    why: str = ""


OnReport = Callable[[EngineReport], None]


@dataclass(frozen=True, slots=True)
class RestartPauses:
    """Seconds between the end of a process and its next start: doubling from the first to the last."""

    first: float = 1.0
    last: float = 30.0
    stable: float = 60.0
    """A process that has run for this long has earned the first pause again."""


class SupervisedEngine:
    """One engine process."""

    def __init__(
        self,
        name: str,
        options: EngineOptions,
        on_report: OnReport,
        *,
        launch: Launch = launch,
        pauses: RestartPauses | None = None,
    ) -> None:
        """`options` say which model file the process loads; `on_report` is told of every change."""
        self.name = name
        self.options = options
        self.report = EngineReport(name, State.STOPPED)
        self._on_report = on_report
        self._launch = launch
        self._pauses = pauses or RestartPauses()
        self._process: EngineProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()

    def start(self) -> None:
        """Start the process; it takes its time."""
        self._supervisor = asyncio.create_task(self._supervise(), name=f"supervisor of {self.name}")

    async def settled(self) -> EngineReport:
        """Wait until the first start has led to something, and return the state then."""
        await self._settled.wait()
        return self.report

    async def close(self) -> None:
        """End the process. Its running requests have a moment to finish."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._process is not None:
            await self._process.stop()
        self._become(State.STOPPED, why="closed")

    async def _supervise(self) -> None:
        pause = self._pauses.first
        while True:
            self._become(State.STARTING, why="loading the model")
            reason = "it could not be started"
            try:
                self._process = await self._launch(self.options)
            except EngineStopped as error:
                reason = str(error)
                if error.status == EXIT_MODEL:
                    self._become(State.FAILED, why=f"{reason}; it is not tried again with this model")
                    return
            except OSError as error:
                reason = error.strerror or reason
            else:
                since = time.monotonic()
                self._become(State.READY, url=self._process.url)
                status = await self._process.wait()
                self._process = None
                reason = f"the engine ended with status {status}"
                if time.monotonic() - since >= self._pauses.stable:
                    pause = self._pauses.first
            self._become(State.FAILED, why=f"{reason}; next try in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._pauses.last)

    def _become(self, state: State, *, url: str = "", why: str = "") -> None:
        self.report = EngineReport(self.name, state, url, why)
        if state is not State.STARTING:
            self._settled.set()
        if state is State.FAILED:
            _log.error("engine_failed", upstream=self.name, reason=why)
        else:
            _log.info("engine_" + state.value, upstream=self.name)
        self._on_report(self.report)
