"""The state of one request on its way through the hops."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from gateway.answer import Answer, EventStream, Tap
from gateway.cache_state import CacheState
from gateway.compression.mode import OFF, Mode
from gateway.compression.outcome import Compression
from gateway.config.schema import Limits, Model, Streams
from gateway.errors import ClientDisconnected, GatewayError, RequestError
from gateway.routing.capabilities import ANY, Can
from gateway.routing.watched import Watched
from gateway.state.ledger.base import Used
from gateway.window.outcome import Fitted
from gateway.wire.errors import cause_of
from gateway.wire.request import Endpoint, RequestView
from gateway.wire.usage import Outcome, Usage
from router.policy.base import Policy
from telemetry.context import TraceContext
from telemetry.ids import new_id
from telemetry.spans import NOOP_SPAN, Span

_log = structlog.get_logger("gateway.request")

Receive = Callable[[int], Awaitable[bytes]]
"""Reads the request's body; the argument is the most bytes that are accepted."""


def new_request_id() -> str:
    """Return an id that nobody can guess: it opens the settled request's record."""
    return f"req_{new_id()}"


@dataclass(slots=True)
class Call:
    """One call of an upstream: what it was, how long it took and what came of it. Monotonic seconds."""

    upstream: str
    model: str
    """The model's name in the config; `*` for one that passes through."""
    target: Model
    started_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None
    status: int | None = None
    error: str | None = None
    """A value of `error.type`."""
    outcome: Outcome = field(default_factory=Outcome)
    compression: Compression | None = None
    """What was done to the prompt for this call."""
    fitted: Fitted | None = None
    """How a prompt that was longer than the window was made to fit."""
    reason: str = ""
    """Why this model was called; of a route's last call, why its answer stands."""
    usage_added: bool = False
    """The upstream was asked for a stream's usage on our own account, so it is taken out again."""
    span: TraceContext | None = None
    """The call's place in a trace that is recorded."""

    def seconds(self) -> float:
        """Return how long the call took, or has taken so far."""
        return (self.ended_s or time.monotonic()) - self.started_s


@dataclass(frozen=True, slots=True)
class Scoring:
    """A call that told how likely parts of the prompt are, for the compressor: no attempt at the answer."""

    model: str
    """The model's name in the config."""
    target: Model
    usage: Usage
    """As reported; of a call that was left, an estimate of what it read."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: the model of the config that answers and the name that it has upstream."""

    label: str
    """The model's name in the config, or the requested one if it passes through."""
    model: str
    """The model's key in the config, `*` included."""
    target: Model
    upstream_model: str
    can: Can = ANY
    tiers: Tiers | None = None
    """Set if the name stands for several models: then this is the last one until the cascade has decided."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """The models of a route, small ones first, and what decides between them."""

    routes: tuple[Route, ...]
    policy: Policy

    @property
    def large(self) -> Route:
        """The last one: it answers whatever the others cannot."""
        return self.routes[-1]


@dataclass(slots=True)
class Exchange:
    """One request. Hops fill it in; a hop changes it only right before it calls the next one."""

    endpoint: Endpoint
    headers: Mapping[str, str]
    receive: Receive
    id: str = field(default_factory=new_request_id)
    started_s: float = field(default_factory=time.monotonic)
    created: float = field(default_factory=time.time)
    tenant: str = ""
    """Derived from the key by the edge, and from nothing else; empty until then."""
    limits: Limits | None = None
    body: bytes = b""
    received_s: float | None = None
    """When the body was here."""
    view: RequestView | None = None
    report: bool = False
    streams: Streams | None = None
    """How the client wants a stream to go whose answer is judged."""
    session: str | None = None
    """The conversation, as the client names it."""
    route: Route | None = None
    compress: Mode = OFF
    """How much of the prompt may go."""
    compression: Compression | None = None
    """What the next call's prompt is without; None sends the client's own."""
    fit: Mode = OFF
    """The mode that was asked for, whatever `compress` becomes: a second call has to fit as well."""
    fitted: Fitted | None = None
    """How the next call's prompt was made to fit."""
    reason: str = ""
    """Why the next call goes where it goes, in a line."""
    logprobs: bool = False
    """The next call asks for token probabilities; who wants them takes them out of the answer."""
    calls: list[Call] = field(default_factory=list)
    scorings: list[Scoring] = field(default_factory=list)
    """What the compressor had a model of the configuration say."""
    origin: Exchange | None = None
    """The request that made this one on its own account; None for those that came in over HTTP."""
    asked_for: bool = True
    """A client waits for the answer; nobody does for that of a refresh."""
    inner: list[Exchange] = field(default_factory=list)
    """The requests that this one has made."""
    watched: Watched | None = None
    """What the tiers of a route that learns have said."""
    cache: CacheState | None = None
    observers: list[Tap] = field(default_factory=list)
    """See the upstream's own events, before anything is taken out of them."""
    metered: bool = False
    """Answers are counted while they pass, in case the upstream does not report its count."""
    charged: Used | None = None
    """What a limited tenant was charged for."""
    reply_headers: dict[str, str] = field(default_factory=dict)
    """What hops add to the answer, whatever it will be."""
    caller: TraceContext | None = None
    span: Span = NOOP_SPAN
    status: int | None = None
    first_byte_s: float | None = None
    error: BaseException | None = None
    """Why the request failed or was left, also if that came after the head of the answer."""
    why_cancelled: Callable[[], GatewayError] = ClientDisconnected
    """Tells, when the request's task is cancelled, what that means."""
    _endings: list[Callable[[], None]] = field(default_factory=list)

    def failure(self) -> str | None:
        """Return why this was not the client's own doing, as a value of `error.type`; None if all is well."""
        if self.error is not None:
            return None if isinstance(self.error, RequestError) else cause_of(self.error)
        if self.status is not None and self.status >= 500:
            return str(self.status)
        if self.status == 200 and self.calls:
            return self.calls[-1].error
        return None

    def at_end(self, action: Callable[[], None]) -> None:
        """Run `action` when the request is over, however it ended; the last one added runs first."""
        self._endings.append(action)

    def keep(self, answer: Answer) -> Answer:
        """Close a stream at the end at the latest, should no hop hand it on; returns the answer."""
        if isinstance(stream := answer.body, EventStream):
            self._endings.append(lambda: stream.close(self.error or self.why_cancelled()))
        return answer

    def end(self) -> None:
        """Run what waits for the end. Called once the last byte is written or the client is gone."""
        while self._endings:
            try:
                self._endings.pop()()
            except Exception as error:
                # One that fails must not keep the others from giving back what they hold.
                _log.error("ending_failed", request_id=self.id, exc_info=error)

    def branch(self) -> Exchange:
        """Return the same request with endings and observers of its own; the list of calls is shared."""
        twin = object.__new__(Exchange)
        for name in _FIELDS:
            setattr(twin, name, getattr(self, name))
        twin.observers = []
        twin._endings = []
        return twin


# `dataclasses.replace` looks at every field twice and calls all factories: some 20 µs.
_FIELDS = tuple(Exchange.__slots__)
