"""Fetches answers anew in the background, for those who have just been served a stale one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from gateway.answer import Answer, EventStream
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from semantic_cache.directives import CACHE_CONTROL
from semantic_cache.scope import ExactKey

MAX_REFRESHES = 64
"""Beyond this many, stale answers are served without being fetched anew; the next caller tries again."""

_NOT_REPEATED = ("traceparent", "tracestate", "x-forebay-report")
_log = structlog.get_logger("gateway.refresh")


class Refresher:
    """Sends a request through all hops once more, on its own account: it is limited, traced and settled."""

    def __init__(self) -> None:
        self._under_way: dict[ExactKey, asyncio.Task[None]] = {}

    def bind(self, run: Callable[[Exchange], Awaitable[Answer]]) -> None:
        """Say what runs an exchange: the pipeline that this is itself a part of."""
        self._run = run

    def start(self, ex: Exchange, key: ExactKey) -> None:
        """Begin to fetch the answer of `ex` anew, unless that is under way. The caller may leave."""
        if key in self._under_way or len(self._under_way) >= MAX_REFRESHES:
            return
        if ex.cache is not None and ex.cache.directives.no_store:
            # Its answer would be fetched to be thrown away, or kept against the client's word.
            return
        task = asyncio.create_task(self._refresh(_again(ex)))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))

    async def close(self) -> None:
        """Break off what is under way: what is not fetched now will be when it is asked for."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self, ex: Exchange) -> None:
        answer: Answer | None = None
        try:
            answer = await self._run(ex)
            if isinstance(answer.body, EventStream):
                async for _ in answer.body:
                    pass
        except GatewayError as error:
            ex.error = error
        except BaseException as error:
            ex.error = error
            raise
        finally:
            if answer is not None and ex.error is not None:
                answer.close(ex.error)
            ex.end()


def _again(ex: Exchange) -> Exchange:
    body = ex.body

    async def receive(limit: int) -> bytes:
        return body

    private = ex.cache is not None and ex.cache.directives.private
    return Exchange(ex.endpoint, _headers(ex.headers, private=private), receive, asked_for=False)


def _headers(headers: Mapping[str, str], *, private: bool) -> dict[str, str]:
    again = {name.lower(): value for name, value in headers.items() if name.lower() not in _NOT_REPEATED}
    # What kept the request out of its group keeps its refresh out of it.
    again[CACHE_CONTROL] = "no-cache, private" if private else "no-cache"
    return again
