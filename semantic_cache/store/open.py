"""From the URL in the configuration to a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from semantic_cache.errors import BadStoreUrl
from semantic_cache.store.base import Budget, OnEvent, Store, ignore_event
from semantic_cache.store.sqlite import SqliteStore

_SQLITE = "sqlite://"


def open_store(
    url: str,
    budget: Budget | None = None,
    *,
    on_event: OnEvent = ignore_event,
    clock: Callable[[], float] = time.time,
) -> Store:
    """Return the store at `sqlite://PATH`, `redis://…`, `rediss://…` or `unix://SOCKET`. Raises BadStoreUrl.

    A relative path counts from the working directory. A Redis server is not asked until the first call.
    """
    if url.startswith(_SQLITE):
        path = url[len(_SQLITE) :]
        if not path or path.endswith("/") or "?" in path:
            raise BadStoreUrl("Give the cache's SQLite file a path, such as sqlite://.forebay/cache.db.")
        return SqliteStore(Path(path), budget, on_event=on_event, clock=clock)
    if url.startswith(("redis://", "rediss://", "unix://")):
        # Only here: the client costs a worker 12 MB and a tenth of a second.
        from semantic_cache.store.redis import RedisStore

        return RedisStore(url, budget, on_event=on_event, clock=clock)
    raise BadStoreUrl(
        "The cache's store is 'sqlite://PATH', 'redis://HOST:PORT/0', 'rediss://…' or 'unix://SOCKET'."
    )
