"""The floor of the gateway benchmark: the least that a Python gateway on aiohttp and uvloop can do.

    python -m benchmarks.peers.bare_aiohttp handler|proxy PORT [UPSTREAM]

`handler` reads the request and answers from memory; `proxy` sends it on, with the upstream's key, and pipes
the answer back chunk by chunk. Neither looks into what passes.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web

from benchmarks.peers import mock_openai

_PATH = "/v1/chat/completions"


_REPLY = mock_openai.reply()


async def handler(request: web.Request) -> web.Response:
    """Answer from memory."""
    await request.read()
    return web.Response(body=_REPLY, content_type="application/json")


class Proxy:
    """Sends every request on."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """Hold the pool of connections while the application runs."""
        connector = aiohttp.TCPConnector(limit=256)
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        ) as self._session:
            yield

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """`POST` to any path."""
        headers = {"authorization": f"Bearer {mock_openai.KEY}", "content-type": "application/json"}
        body = await request.read()
        async with self._session.post(self._upstream + request.path, data=body, headers=headers) as answer:
            kind = answer.headers["content-type"]
            if answer.content_length is not None:
                return web.Response(
                    status=answer.status, body=await answer.read(), headers={"content-type": kind}
                )
            response = web.StreamResponse(status=answer.status, headers={"content-type": kind})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def main(kind: str, port: int, upstream: str = "") -> None:
    """Serve until the process is ended."""
    app = web.Application()
    if kind == "proxy":
        proxy = Proxy(upstream)
        app.cleanup_ctx.append(proxy.run)
        app.router.add_post(_PATH, proxy.answer)
    else:
        app.router.add_post(_PATH, handler)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
