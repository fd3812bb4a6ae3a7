"""What the leader of a call tells those who follow it on other gateways.

An answer is an Opening, Parts and a Closing. A Failing or Abandoned may come in the place of all of it, or of
its rest. Whoever changes a message changes `KIND_VERSION`, so that two releases never follow each other.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway.wire.usage import Usage

KIND_VERSION = "1"


class Opening(msgspec.Struct, tag="o", array_like=True, frozen=True):
    """The head of an answer, and the span of the request that it was made for."""

    status: int
    headers: dict[str, str]
    stream: bool
    attempt: int
    """1, or 2 for the call that was made because the first one failed."""
    trace_id: str
    span_id: str
    flags: int


class Part(msgspec.Struct, tag="p", array_like=True, frozen=True):
    """Bytes of the body, cut anywhere."""

    data: bytes


class Closing(msgspec.Struct, tag="c", array_like=True, frozen=True):
    """The answer is complete."""

    heir: str = ""
    """The follower who answers for the call's cost, if nobody does on the leader's side."""
    upstream: str = ""
    usage: Usage | None = None
    counted: int = 0


class Failing(msgspec.Struct, tag="f", array_like=True, frozen=True):
    """The call failed, or its stream broke off."""

    attempt: int
    error: str
    """The name of a GatewayError."""
    message: str
    cause: str = ""
    retry_after_s: int = 0


class Abandoned(msgspec.Struct, tag="a", array_like=True, frozen=True):
    """Nothing more will be told of the call."""

    too_large: bool
    """Whether that is because the answer is too large to be told; else the leader had to leave."""


Message: TypeAlias = Opening | Part | Closing | Failing | Abandoned

_decoder = msgspec.msgpack.Decoder(list[Message])
_encoder = msgspec.msgpack.Encoder()


def encode(messages: list[Message]) -> bytes:
    """Return some messages as one entry of the stream."""
    return _encoder.encode(messages)


def decode(entry: bytes) -> list[Message]:
    """Return the messages of an entry. Raises msgspec.DecodeError."""
    return _decoder.decode(entry)
