"""A store's answers as lines of JSON, to take them elsewhere with all that was learnt about them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from semantic_cache.entry import LEFT_OUT, Entry
from semantic_cache.errors import CacheError
from semantic_cache.record import Learnt, Record, encode
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Store

VERSION = 1


class BadLine(CacheError):
    """A line is not what `export_lines` writes."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    tenant: str
    key: bytes
    """Of the answer; the tenant and the whole scope are in it, so it means the same in every store."""
    entry: Entry
    record: Record | None = None
    learnt: Learnt | None = None


_DECODE = msgspec.json.Decoder(_Line).decode


async def export_lines(store: Store, tenant: str | None = None) -> AsyncIterator[bytes]:
    """Yield a line for each answer that may be served, of a tenant or of all. Raises StoreUnavailable."""
    async for kept in store.scan(tenant):
        if kept.entry.endpoint == LEFT_OUT:
            continue
        line = _Line(VERSION, kept.entry.tenant, kept.key.digest, kept.entry)
        if kept.stored is not None:
            line = msgspec.structs.replace(line, record=kept.stored.record, learnt=kept.stored.learnt)
        if line.tenant:
            yield msgspec.json.encode(line) + b"\n"


async def import_line(store: Store, line: bytes) -> bool:
    """Keep the answer of a line; returns whether it was still worth keeping.

    It is of the epochs that its tenant and its contributor are in here, whatever those were elsewhere. Raises
    BadLine, StoreUnavailable.
    """
    try:
        read = _DECODE(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine(f"this is no line of an export: {error}") from None
    if read.version != VERSION or not read.tenant or read.entry.tenant != read.tenant or len(read.key) != 32:
        raise BadLine("this is no line of an export of this release")
    key = ExactKey(read.tenant, read.key)
    epoch, contributed = (await store.epochs(read.tenant)).now, 0
    if read.entry.contributor:
        contributed = (await store.epochs(read.entry.contributor)).now
    entry = msgspec.structs.replace(read.entry, epoch=epoch, contributed=contributed)
    record = read.record
    if record is not None:
        record = msgspec.structs.replace(record, epoch=epoch, contributed=contributed)
    kept = await store.put(key, entry, record)
    if kept and read.learnt is not None and read.learnt != Learnt():
        await store.teach(key, b"", encode(read.learnt))
    return kept
