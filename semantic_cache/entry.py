"""What is stored: one complete answer, and where and when it came from.

Text that was left out of a prompt is kept in the same way, under another kind of key.
The answer is kept as the JSON body that the upstream gives, or would have given, to a caller who does not
stream, without its `id` and `created`. Both kinds of replay are made from it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Annotated

import msgspec
from msgspec import Meta

from semantic_cache.errors import CorruptEntry

SCHEMA = 1
LEFT_OUT = "left-out"
"""The `endpoint` of what is no answer: text that a prompt was sent without, until the model asks for it."""
# Schema version, then CRC-32 over the key and all that follows.
_HEAD = struct.Struct(">BI")

Text = Annotated[str, Meta(max_length=1024)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One stored answer. Times are seconds since the epoch, and created <= expires <= stale_until."""

    endpoint: Text
    model: Text
    """The requested name."""
    answer: bytes
    """A JSON object that begins with `{"`."""
    has_usage: bool
    """Whether the answer counts its tokens; a stream of an upstream that does not report them has none."""
    created_at: float
    expires_at: float
    stale_until: float
    """Until then it may be served stale while it is fetched anew; afterwards it is gone."""
    trace_id: Text = ""
    span_id: Text = ""
    """The call that produced the answer."""
    tags: tuple[Text, ...] = ()
    epoch: int = 0
    """The tenant's epoch when the question was asked; what was purged since then is dead (see `epochs`)."""
    tenant: Text = ""
    cost_usd: float = 0.0
    """What the answer cost, if its price is known."""
    cost_s: float = 0.0
    """How long the upstream took."""
    contributor: Text = ""
    """Whose answer it was before a group took it over; empty for a tenant's own."""
    contributed: int = 0
    """The contributor's epoch then: what is purged of it is dead in the group as well."""

    def fresh(self, now: float) -> bool:
        """Return whether the entry may be served without asking anybody."""
        return now < self.expires_at

    def age(self, now: float) -> float:
        """Return seconds since it was produced; never negative, since clocks of hosts differ."""
        return max(0.0, now - self.created_at)


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Entry).decode


def encode_entry(entry: Entry, digest: bytes) -> bytes:
    """Return the bytes that a store keeps for the key with this digest."""
    payload = _ENCODE(entry)
    return _HEAD.pack(SCHEMA, _checksum(digest, payload)) + payload


def decode_entry(stored: bytes, digest: bytes) -> Entry:
    """Return the entry, which was written for this very key. Raises CorruptEntry."""
    if len(stored) < _HEAD.size:
        raise CorruptEntry("it is cut short")
    schema, checksum = _HEAD.unpack_from(stored)
    if schema != SCHEMA:
        raise CorruptEntry("it has another schema")
    payload = memoryview(stored)[_HEAD.size :]
    if _checksum(digest, payload) != checksum:
        raise CorruptEntry("its checksum is wrong")
    try:
        return _DECODE(payload)
    except msgspec.DecodeError:
        raise CorruptEntry("it does not decode") from None


def _checksum(digest: bytes, payload: bytes | memoryview) -> int:
    # The key is part of it, so that bytes which end up under another key are never somebody else's answer.
    return zlib.crc32(payload, zlib.crc32(digest))
