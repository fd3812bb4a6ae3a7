"""What the supervisor and its workers say to each other. Pickled: both ends are the same program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.config.schema import Config
from gateway.state.settled import SettledRequest
from gateway.upstreams.engine_process import EngineReport
from telemetry.metrics.merge import Snapshot

# Supervisor to worker.


@dataclass(frozen=True, slots=True)
class Prepare:
    """Build a gateway of this configuration and start its parts; answered by Prepared or Refused.

    `engines` has, by upstream name, the number and the state of each engine process; `semantic` is the
    socket of the semantic process.
    """

    generation: int
    config: Config
    engines: Mapping[str, tuple[int, EngineReport]]
    semantic: str | None = None


@dataclass(frozen=True, slots=True)
class Switch:
    """Answer with the prepared gateway from now on; Retired tells when the one before has gone."""

    generation: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Another worker refused this generation: take the prepared gateway down."""

    generation: int


@dataclass(frozen=True, slots=True)
class EngineChanged:
    """An engine process is in another state."""

    number: int
    report: EngineReport


@dataclass(frozen=True, slots=True)
class Accept:
    """Accept connections on exactly these sockets. The first time it is answered by Serving."""

    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class NotReady:
    """Shutting down: tell the balancer, but go on serving."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Accept nothing more, let requests go on for at most `drain_s`, and leave."""

    drain_s: float


# Worker to supervisor.


@dataclass(frozen=True, slots=True)
class Prepared:
    """The gateway of this generation is ready to switch to."""

    generation: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway of this generation could not be started."""

    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class Serving:
    """Connections are being accepted."""


@dataclass(frozen=True, slots=True)
class Retired:
    """The last request of this generation has ended, and its parts are closed."""

    generation: int


# Questions go from a worker to the supervisor, and from there to every worker.


@dataclass(frozen=True, slots=True)
class AskMetrics:
    """What have you counted?"""


@dataclass(frozen=True, slots=True)
class AskSettled:
    """Do you remember this request?"""

    request_id: str


Subject: TypeAlias = AskMetrics | AskSettled
Reply: TypeAlias = Snapshot | SettledRequest | None


@dataclass(frozen=True, slots=True)
class Question:
    """`number` is the asker's own, and comes back with the answer."""

    number: int
    subject: Subject


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a question of that number."""

    number: int
    reply: Reply


Message: TypeAlias = (
    Prepare
    | Switch
    | Forget
    | EngineChanged
    | Accept
    | NotReady
    | Finish
    | Prepared
    | Refused
    | Serving
    | Retired
    | Question
    | Answered
)
