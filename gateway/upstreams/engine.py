"""The bundled engine: a process that is started, watched and started again, and the requests to it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from backend_engine.errors import EngineStopped
from backend_engine.launcher import EngineOptions, EngineProcess, launch
from backend_engine.protocol import SALT_HEADER
from gateway.answer import Answer
from gateway.config.schema import EngineUpstream
from gateway.errors import InvalidRequest, UpstreamNotReady
from gateway.upstreams.base import ModelCard, State, UpstreamRequest
from gateway.upstreams.http import HttpCaller
from gateway.wire.request import Endpoint
from telemetry.names import PROVIDER_FOREBAY

Launch = Callable[[EngineOptions], Awaitable[EngineProcess]]
OnState = Callable[[str, State, str], None]
"""Told of every change: the upstream's name, its new state, and a word about why."""

_log = structlog.get_logger("gateway.engine")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take around an engine that is not there, in seconds."""

    start: float = 10.0
    """A request waits this long for an engine that is starting before it is told to come back."""
    first_restart: float = 1.0
    last_restart: float = 30.0
    """A crashed engine is started again after a pause that doubles from the first to the last."""
    stable: float = 60.0
    """An engine that has run for this long has earned the first pause again."""


class Engine:
    """One supervised engine process."""

    provider = PROVIDER_FOREBAY
    reports_usage = True

    def __init__(
        self,
        name: str,
        config: EngineUpstream,
        options: EngineOptions,
        *,
        launch: Launch = launch,
        patience: Patience | None = None,
        on_state: OnState | None = None,
    ) -> None:
        """`options` say which model file the process loads; `config` how it is called."""
        self.name = name
        self._options = options
        self._launch = launch
        self._patience = patience or Patience()
        self._on_state = on_state
        # The engine itself says when its queue is full, so its connections are not the bottleneck.
        self._http = HttpCaller(name, config.timeouts, config.max_sequences + config.max_waiting + 1)
        self._state = State.STOPPED
        self._ready = asyncio.Event()
        self._process: EngineProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        return self._state

    async def start(self) -> None:
        await self._http.start()
        self._supervisor = asyncio.create_task(self._supervise(), name=f"supervisor of {self.name}")

    async def send(self, request: UpstreamRequest) -> Answer:
        if request.path == Endpoint.EMBEDDINGS.upstream_path:
            message = "The bundled engine has no embeddings; route this model to another upstream."
            raise InvalidRequest(message, param="model", code="unsupported_endpoint")
        base_url = await self._base_url()
        return await self._http.post(base_url, request, {SALT_HEADER: _salt(request.tenant)})

    async def models(self) -> Sequence[ModelCard]:
        return [ModelCard(self._options.model_name or self.name, owned_by=PROVIDER_FOREBAY)]

    async def close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        if self._process is not None:
            await self._process.stop()
        self._become(State.STOPPED, "closed")
        await self._http.close()

    async def _base_url(self) -> str:
        if self._state is State.STARTING:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience.start):
                    await self._ready.wait()
        if self._state is not State.READY or self._process is None:
            raise UpstreamNotReady(f"The engine '{self.name}' is {self._state.value}.", retry_after_s=5)
        return f"{self._process.url}/v1"

    async def _supervise(self) -> None:
        pause = self._patience.first_restart
        while True:
            self._become(State.STARTING, "loading the model")
            reason = "it could not be started"
            try:
                self._process = await self._launch(self._options)
            except EngineStopped as error:
                reason = str(error)
            except OSError as error:
                reason = error.strerror or reason
            else:
                since = time.monotonic()
                self._become(State.READY, self._process.url)
                status = await self._process.wait()
                self._process = None
                reason = f"the engine ended with status {status}"
                if time.monotonic() - since >= self._patience.stable:
                    pause = self._patience.first_restart
            self._become(State.FAILED, f"{reason}; next try in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._patience.last_restart)

    def _become(self, state: State, why: str) -> None:
        self._state = state
        if state is State.READY:
            self._ready.set()
        else:
            self._ready.clear()
        if state is State.FAILED:
            _log.error("engine_failed", upstream=self.name, reason=why)
        else:
            _log.info("engine_" + state.value, upstream=self.name)
        if self._on_state is not None:
            self._on_state(self.name, state, why)


def _salt(tenant: str) -> str:
    """Return the partition of the engine's prefix cache that belongs to a tenant."""
    return hashlib.sha256(b"forebay tenant\0" + tenant.encode()).hexdigest()
