"""What goes wrong outside the hops (no such URL, wrong method, a bug) in OpenAI's error shape as well."""

from __future__ import annotations

import structlog
from aiohttp import web

from gateway.errors import GatewayError
from gateway.wire.errors import INVALID_REQUEST, SERVER_ERROR, body_of, error_body, error_headers, kind_of

_log = structlog.get_logger("gateway.request")
_CODES = {404: "unknown_url", 405: "method_not_supported", 413: "request_too_large"}


def failure(request: web.BaseRequest, error: Exception) -> web.Response:
    """Return OpenAI's error object for what a handler or the router raised."""
    if isinstance(error, web.HTTPException):
        return _http_error(request, error)
    if isinstance(error, GatewayError):
        return web.Response(status=kind_of(error).status, body=body_of(error), headers=error_headers(error))
    _log.error("request_failed", path=request.path, exc_info=error)
    return _json(500, body_of(error))


def _http_error(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
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
