"""What the server's handlers do not see."""

from __future__ import annotations

import logging

import pytest
from aiohttp import ClientError, ClientSession, web
from aiohttp.test_utils import TestServer

from backend_engine.server.app import as_openai_errors


async def test_a_client_that_is_gone_while_it_is_written_to_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[Exception] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        assert request.transport is not None
        # As when the other side resets the connection between two events.
        request.transport.abort()
        try:
            await response.write(b"too late")
        except ConnectionError as error:
            raised.append(error)
            raise
        raise AssertionError("nobody can be written to")

    app = web.Application(middlewares=[as_openai_errors])
    app.add_routes([web.get("/", handler)])
    with caplog.at_level(logging.INFO):
        async with TestServer(app) as server, ClientSession() as http:
            with pytest.raises(ClientError):
                async with http.get(server.make_url("/")) as response:
                    await response.read()
    assert len(raised) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
