"""What the semantic tier keeps beside an entry: a question's text and vector, and what was learnt.

The record never changes once it is written; what is learnt is kept apart from it, because it does.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from semantic_cache.scope import ExactKey

Text = Annotated[str, Meta(max_length=1024)]
MAX_BLOCKED = 64


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One stored question. Times are seconds since the epoch."""

    scope: bytes
    """`Scope.digest`; what has another one is never compared with it."""
    text: str
    """The last user turn."""
    model: Text
    """The requested name."""
    embedder: Text = ""
    """What made the vector; the vectors of two embedders are never compared."""
    vector: bytes = b""
    """[dim] little-endian fp16 of unit length; empty if nobody had one when the answer came."""
    stale_until: float
    tags: tuple[Text, ...] = ()
    epoch: int = 0
    contributor: Text = ""
    contributed: int = 0
    """As `Entry` has them."""


class Learnt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What has been found out about an entry since it was stored."""

    observations: bytes = b""
    """The decision's own, as msgpack; empty before the first label."""
    blocked: tuple[bytes, ...] = ()
    """Digests of questions that its answer was wrong for, as somebody said; the last MAX_BLOCKED of them."""
    times: tuple[float, ...] = ()
    """When each of the observations was made, in seconds since the epoch: the labels of many entries together
    are looked at in their order."""
    withdrawn: bool = False
    """A group had the answer and one of its tenants found it wrong: no group ever has it again."""

    def blocking(self, question: bytes) -> Learnt:
        """Return the same with one more question that it never answers again."""
        others = tuple(digest for digest in self.blocked if digest != question)
        return msgspec.structs.replace(self, blocked=(*others, question)[-MAX_BLOCKED:])


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record where it lies, with what was learnt about it."""

    key: ExactKey
    record: Record
    learnt: Learnt


_DECODE_RECORD = msgspec.msgpack.Decoder(Record).decode
_DECODE_LEARNT = msgspec.msgpack.Decoder(Learnt).decode
encode = msgspec.msgpack.Encoder().encode
NOTHING_LEARNT = Learnt()


def decode_stored(key: ExactKey, record: bytes, learnt: bytes | None) -> Stored | None:
    """Return what a store kept, or None if it is not what was written: it is then as if it were not there."""
    try:
        return Stored(key, _DECODE_RECORD(record), decode_learnt(learnt))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_learnt(learnt: bytes | None) -> Learnt:
    """Return what was learnt; nothing if nothing was. Raises msgspec.DecodeError."""
    return _DECODE_LEARNT(learnt) if learnt else NOTHING_LEARNT
