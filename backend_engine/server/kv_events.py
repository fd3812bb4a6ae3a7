"""`GET /internal/kv-events`: the prefixes held here as server-sent events, for a router.

Event `snapshot` comes first, then `stored` and `removed`, each with `{"block_size": n, "hashes": [hex, ...]}`
of the blocks in the pool. A reader that falls behind gets `lag` with `{"missed": n}`, then a snapshot.
"""

from __future__ import annotations

from contextlib import aclosing

import msgspec
from aiohttp import web

from backend_engine.async_engine import AsyncEngine
from backend_engine.kv.events import KvEvent

PATH = "/internal/kv-events"
KEEP_ALIVE_S = 15.0
_encode = msgspec.json.Encoder().encode


class KvEvents:
    """The route's handler."""

    def __init__(self, engine: AsyncEngine, block_size: int) -> None:
        self._engine = engine
        self._block_size = block_size

    async def close(self, app: web.Application) -> None:
        """End all streams, so that shutting down need not wait for them."""
        self._engine.end_kv_events()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Stream until the reader leaves or the engine stops."""
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        )
        await response.prepare(request)
        async with aclosing(self._engine.kv_events(KEEP_ALIVE_S)) as batches:
            async for events in batches:
                # An empty batch is a sign of life: without it, a reader that is gone is never noticed.
                await response.write(b"".join(map(self._encode, events)) or b": \n\n")
        await response.write_eof()
        return response

    def _encode(self, event: KvEvent) -> bytes:
        if event.kind == "lag":
            body: dict[str, object] = {"missed": event.missed}
        else:
            body = {"block_size": self._block_size, "hashes": [name.hex() for name in event.names]}
        return f"event: {event.kind}\ndata: ".encode() + _encode(body) + b"\n\n"
