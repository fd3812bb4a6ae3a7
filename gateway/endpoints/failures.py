"""What goes wrong outside the hops (no such URL, wrong method, a bug) in OpenAI's error shape as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from gateway.errors import GatewayError
from gateway.wire.errors import INVALID_REQUEST, SERVER_ERROR, body_of, error_body, error_headers, kind_of

_log = structlog.get_logger("gateway.request")
_CODES = {404: "unknown_url", 405: "method_not_supported", 413: "request_too_large"}


@web.middleware
async def failures_in_openai_shape(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn exceptions of handlers and of the router into OpenAI's error object."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _http_error(request, error)
    except GatewayError as error:
        return web.Response(status=kind_of(error).status, body=body_of(error), headers=error_headers(error))
    except ConnectionError:
        raise
    except Exception as error:
        _log.exception("request_failed", path=request.path)
        return _json(500, body_of(error))


def _http_error(request: web.Request, error: web.HTTPException) -> web.Response:
    if error.status == 404:
        message = f"Invalid URL ({request.method} {request.path})"
    elif error.status == 405:
        message = f"Not allowed to {request.method} on {request.path}"
    else:
        message = error.reason
    kind = INVALID_REQUEST if error.status < 500 else SERVER_ERROR
    response = _json(error.status, error_body(message, kind, code=_CODES.get(error.status)))
    if "allow" in error.headers:
        response.headers["allow"] = error.headers["allow"]
    return response


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")
