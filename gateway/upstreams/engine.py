"""Requests to the bundled engine, and what this process knows of its state."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from backend_engine.protocol import PRIORITY_HEADER, SALT_HEADER
from gateway.answer import Answer
from gateway.config.schema import EngineUpstream
from gateway.errors import InvalidRequest, UpstreamGarbage, UpstreamNotReady
from gateway.upstreams.base import ModelCard, State, UpstreamRequest
from gateway.upstreams.http import HttpCaller
from gateway.wire.request import Endpoint
from telemetry.names import PROVIDER_FOREBAY

_TOKENIZE = "/tokenize"
START_PATIENCE_S = 10.0
"""A request waits this long for an engine that is starting before it is told to come back."""


class _Card(msgspec.Struct):
    max_model_len: int | None = None


class _Cards(msgspec.Struct):
    data: list[_Card]


class _Counted(msgspec.Struct):
    count: int


_DECODE_CARDS = msgspec.json.Decoder(_Cards).decode
_DECODE_COUNT = msgspec.json.Decoder(_Counted).decode


class EngineStatus:
    """The state of one engine process. Whoever supervises it says so here; its callers look."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self.url = ""
        self._ready = asyncio.Event()

    def update(self, state: State, url: str = "") -> None:
        """Note a change; `url` is the engine's base address if it is ready."""
        self.state, self.url = state, url
        if state is State.READY:
            self._ready.set()
        else:
            self._ready.clear()

    async def base_url(self, name: str, patience_s: float) -> str:
        """Return the engine's address, after a wait if it is starting. Raises UpstreamNotReady."""
        if self.state is State.STARTING:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._ready.wait()
        if self.state is not State.READY:
            raise UpstreamNotReady(f"The engine '{name}' is {self.state.value}.", retry_after_s=5)
        return self.url


class Engine:
    """The bundled engine as an upstream. Its process is somebody else's to run (`engine_process.py`)."""

    provider = PROVIDER_FOREBAY
    reports_usage = True

    def __init__(
        self,
        name: str,
        config: EngineUpstream,
        status: EngineStatus,
        *,
        priorities: Mapping[str, int] = MappingProxyType({}),
        patience_s: float = START_PATIENCE_S,
    ) -> None:
        """`priorities` are those of tenants; 0 where there is none."""
        self.name = name
        self._priorities = priorities
        self._model = config.model
        self._status = status
        self._patience_s = patience_s
        # The engine itself says when its queue is full, so its connections are not the bottleneck.
        self._http = HttpCaller(name, config.timeouts, config.max_sequences + config.max_waiting + 1)

    @property
    def state(self) -> State:
        return self._status.state

    async def start(self) -> None:
        await self._http.start()

    async def send(self, request: UpstreamRequest) -> Answer:
        if request.path == Endpoint.EMBEDDINGS.upstream_path:
            message = "The bundled engine has no embeddings; route this model to another upstream."
            raise InvalidRequest(message, param="model", code="unsupported_endpoint")
        base_url = await self._status.base_url(self.name, self._patience_s)
        # Always said, as it overrules what a body says: no client may pass another tenant's in the queue.
        priority = self._priorities.get(request.tenant, 0)
        headers = {SALT_HEADER: _salt(request.tenant), PRIORITY_HEADER: str(priority)}
        return await self._http.post(f"{base_url}/v1", request, headers)

    async def models(self) -> Sequence[ModelCard]:
        return [ModelCard(self._model, owned_by=PROVIDER_FOREBAY)]

    async def window(self) -> int | None:
        # Not worth a wait: the request itself will wait for an engine that is starting.
        base_url = await self._status.base_url(self.name, 0.0)
        body = await self._http.get(base_url, "/v1/models", {})
        try:
            return _DECODE_CARDS(body).data[0].max_model_len
        except (msgspec.DecodeError, IndexError):
            raise UpstreamGarbage(f"The engine '{self.name}' does not say how long its window is.") from None

    async def count_tokens(self, chat: bytes, tenant: str) -> int | None:
        base_url = await self._status.base_url(self.name, self._patience_s)
        answer = await self._http.post(base_url, UpstreamRequest(_TOKENIZE, chat, False, tenant), {})
        if answer.status != 200 or not isinstance(answer.body, bytes):
            # It cannot read the request, and will say so itself when it gets it.
            answer.close(None)
            return None
        try:
            return _DECODE_COUNT(answer.body).count
        except msgspec.DecodeError:
            raise UpstreamGarbage(f"The engine '{self.name}' did not count tokens as asked.") from None

    async def close(self) -> None:
        await self._http.close()


def _salt(tenant: str) -> str:
    """Return the partition of the engine's prefix cache that belongs to a tenant."""
    return hashlib.sha256(b"forebay tenant\0" + tenant.encode()).hexdigest()
