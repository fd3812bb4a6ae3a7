"""What the hops ask of any upstream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import msgspec

from gateway.answer import Answer


class State(StrEnum):
    """Whether an upstream takes requests; what a server elsewhere does is not known before it is asked."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One call: a path below the upstream's base URL, the body's bytes, and headers that may leave."""

    path: str
    body: bytes
    stream: bool
    tenant: str
    headers: Mapping[str, str] = field(default_factory=dict)


class ModelCard(msgspec.Struct, frozen=True):
    """An entry of `/v1/models`."""

    id: str
    created: int = 0
    owned_by: str = ""
    object: str = "model"


class TokenCounter(Protocol):
    """An upstream with one model that tells of its window and counts a prompt's tokens."""

    async def window(self) -> int | None:
        """Return the tokens that prompt and answer may have together. Raises UpstreamError."""

    async def count_tokens(self, chat: bytes, tenant: str) -> int | None:
        """Return the tokens that the model would read of a chat: an object with `messages`, and perhaps
        `tools`. None if it cannot be said. Raises UpstreamError."""


class Upstream(Protocol):
    """One upstream of the configuration. `send` may be cancelled; its connection is freed then."""

    name: str
    provider: str
    """`gen_ai.provider.name` of its calls."""
    reports_usage: bool
    """Whether a stream may be asked for its usage."""

    @property
    def state(self) -> State:
        """Whether it takes requests now."""

    async def start(self) -> None:
        """Get ready to send; returns before a slow upstream is ready."""

    async def send(self, request: UpstreamRequest) -> Answer:
        """Return the upstream's answer; of a stream, once its head is here. Raises UpstreamError."""

    async def models(self) -> Sequence[ModelCard]:
        """Return the models that the upstream says it has. Raises UpstreamError."""

    async def close(self) -> None:
        """Stop and free everything."""
