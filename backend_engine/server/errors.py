"""The one table from the engine's exceptions to HTTP status and OpenAI's error object."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from aiohttp import web

from backend_engine.errors import (
    DeadlineExceeded,
    EngineError,
    EngineOverloaded,
    EngineStopped,
    InvalidRequest,
    ModelNotFound,
)

# Most specific first: the first class that matches decides.
_TABLE: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    (InvalidRequest, 400, "invalid_request_error", None),
    (ModelNotFound, 404, "invalid_request_error", "model_not_found"),
    (EngineOverloaded, 429, "rate_limit_error", "engine_overloaded"),
    (DeadlineExceeded, 504, "timeout_error", "deadline_exceeded"),
    (EngineStopped, 503, "server_error", "engine_stopped"),
    (EngineError, 500, "server_error", "internal_error"),
)
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}
RETRY_AFTER_S = 1
"""Where nothing better is known."""


def describe(error: BaseException) -> tuple[int, dict[str, Any]]:
    """Return status and `{"error": …}` body for `error`; of an unexpected one only the type is told."""
    if isinstance(error, web.HTTPException):
        reason = error.text or error.reason
        return error.status, _body(reason, "invalid_request_error", None, _HTTP_CODES.get(error.status))
    for kind, status, type_, code in _TABLE:
        if isinstance(error, kind):
            param = getattr(error, "param", None)
            message = str(error)
            return status, _body(message, type_, param, getattr(error, "code", None) or code)
    return 500, _body(f"Internal error: {type(error).__name__}", "server_error", None, "internal_error")


def error_response(error: BaseException) -> web.Response:
    """Return the HTTP answer to `error`."""
    status, body = describe(error)
    headers = {}
    if status in (429, 503):
        seconds = getattr(error, "retry_after_s", None)
        headers["retry-after"] = str(RETRY_AFTER_S if seconds is None else max(1, math.ceil(seconds)))
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["allow"] = ", ".join(sorted(error.allowed_methods))
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers
    )


def _body(message: str, type_: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}
