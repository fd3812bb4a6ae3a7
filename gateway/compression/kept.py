"""Keeps what was left out of prompts, in the cache's store, under the tenant.

It shares the answers' budget, fair share of memory, purges and time to live. Its id follows from the tenant
and the two texts, so that a conversation's next turn, in whatever worker, is sent with the same bytes; and no
tenant can name another one's, since the key is made with the tenant that asks.
"""

from __future__ import annotations

import time
from base64 import b32encode
from collections.abc import Callable
from hashlib import sha256

import msgspec

from gateway.compression.spans import Span, left_out, marked
from semantic_cache.entry import LEFT_OUT, Entry
from semantic_cache.scope import ExactKey
from semantic_cache.store.base import Store

_FRAME = msgspec.msgpack.Encoder().encode
_ID_BYTES = 10


class Spans(msgspec.Struct, frozen=True, gc=False):
    """What was left out of one text."""

    spans: tuple[Span, ...]


_DECODE = msgspec.json.Decoder(Spans).decode
_ENCODE = msgspec.json.Encoder().encode


def id_of(tenant: str, original: str, sent: str) -> str:
    """Return what a text's spans are known by; with another mode it is sent otherwise, and has another id."""
    digest = sha256(_FRAME((tenant, original, sent))).digest()
    return b32encode(digest[:_ID_BYTES]).decode().lower()


class Kept:
    """What was left out of prompts, of one store."""

    def __init__(self, store: Store, ttl_s: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock

    async def keep(self, tenant: str, model: str, original: str, sent: str, tool: str) -> str | None:
        """Keep what is missing, and return the text with marks that say how to ask for it by `tool`.

        None if no mark tells of anything missing, or it is too large to be kept. Raises StoreUnavailable.
        """
        id = id_of(tenant, original, sent)
        found = marked(sent, left_out(original, sent), f"{tool} id={id}")
        if found is None:
            return None
        text, spans = found
        key, now = ExactKey.of_left_out(tenant, id), self._clock()
        there = await self._store.get(key)
        # What a conversation repeats is written once in half its time.
        if there is not None and there.expires_at - now > self._ttl_s / 2:
            return text
        entry = Entry(
            endpoint=LEFT_OUT,
            model=model,
            answer=_ENCODE(Spans(tuple(spans))),
            has_usage=False,
            created_at=now,
            expires_at=now + self._ttl_s,
            stale_until=now + self._ttl_s,
            epoch=(await self._store.epochs(tenant)).now,
            tenant=tenant,
        )
        return text if await self._store.put(key, entry) else None

    async def find(self, tenant: str, id: str) -> tuple[Span, ...] | None:
        """Return what was kept under this id, if it still is. Raises StoreUnavailable."""
        entry = await self._store.get(ExactKey.of_left_out(tenant, id))
        if entry is None or entry.endpoint != LEFT_OUT:
            return None
        try:
            return _DECODE(entry.answer).spans
        except msgspec.DecodeError:
            # Another release's.
            return None
