"""The one table from exception to HTTP status and OpenAI error type and code."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from gateway import errors
from gateway.answer import Answer
from gateway.wire.sse import Event, data_event
from telemetry import names

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
CLIENT_CLOSED = 499
"""nginx's status for a client that left; it stands in records and metrics and is never sent."""


class ErrorKind(NamedTuple):
    """How one exception looks from outside; an exception's own `code` goes before this one."""

    status: int
    type: str
    code: str | None


_TABLE: dict[type[BaseException], ErrorKind] = {
    errors.InvalidRequest: ErrorKind(400, INVALID_REQUEST, None),
    errors.ModelNotFound: ErrorKind(404, INVALID_REQUEST, "model_not_found"),
    errors.Unauthenticated: ErrorKind(401, INVALID_REQUEST, "invalid_api_key"),
    errors.RequestNotFound: ErrorKind(404, INVALID_REQUEST, "request_not_found"),
    errors.NotInCache: ErrorKind(504, INVALID_REQUEST, "not_in_cache"),
    errors.PromptTooLong: ErrorKind(400, INVALID_REQUEST, "context_length_exceeded"),
    errors.RequestStalled: ErrorKind(408, INVALID_REQUEST, "request_timeout"),
    errors.BodyTooLarge: ErrorKind(413, INVALID_REQUEST, "request_too_large"),
    errors.UnsupportedMediaType: ErrorKind(415, INVALID_REQUEST, "unsupported_media_type"),
    errors.ExpectationFailed: ErrorKind(417, INVALID_REQUEST, "expectation_failed"),
    # OpenAI's types name what ran out, and its code for money differs.
    errors.RequestLimit: ErrorKind(429, "requests", "rate_limit_exceeded"),
    errors.TokenLimit: ErrorKind(429, "tokens", "rate_limit_exceeded"),
    errors.MoneyLimit: ErrorKind(429, "insufficient_quota", "insufficient_quota"),
    errors.StateUnavailable: ErrorKind(503, SERVER_ERROR, "state_unavailable"),
    errors.HopFailed: ErrorKind(500, SERVER_ERROR, "hop_failed"),
    errors.UpstreamUnreachable: ErrorKind(502, SERVER_ERROR, "upstream_unreachable"),
    errors.UpstreamGarbage: ErrorKind(502, SERVER_ERROR, "upstream_invalid_response"),
    errors.UpstreamRefusedUs: ErrorKind(502, SERVER_ERROR, "upstream_unauthorized"),
    errors.UpstreamBroke: ErrorKind(502, SERVER_ERROR, "upstream_incomplete"),
    errors.UpstreamNotReady: ErrorKind(503, SERVER_ERROR, "upstream_not_ready"),
    errors.UpstreamTimeout: ErrorKind(504, SERVER_ERROR, "upstream_timeout"),
    errors.ClientDisconnected: ErrorKind(CLIENT_CLOSED, INVALID_REQUEST, "client_disconnected"),
    errors.Draining: ErrorKind(503, SERVER_ERROR, "shutting_down"),
}
_UNEXPECTED = ErrorKind(500, SERVER_ERROR, "internal_error")
_UNEXPECTED_MESSAGE = "The gateway had an error while processing your request."


def kind_of(error: BaseException) -> ErrorKind:
    """Return the row of an exception; of anything not raised on purpose, an internal error."""
    for base in type(error).__mro__:
        if base in _TABLE:
            return _TABLE[base]
    return _UNEXPECTED


def cause_of(error: BaseException) -> str:
    """Return the value of `error.type` in spans and records: one of a few names, never a message."""
    if isinstance(error, errors.UpstreamError):
        return error.cause
    if isinstance(error, errors.ClientDisconnected):
        return names.CLIENT_DISCONNECT
    if isinstance(error, errors.Draining):
        return names.SHUTDOWN
    if isinstance(error, errors.GatewayError):
        return type(error).__name__
    return names.INTERNAL_ERROR


def error_body(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> bytes:
    """Return OpenAI's error object."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def body_of(error: BaseException) -> bytes:
    """Return the error object of an exception; what an unexpected one says stays in the log."""
    kind = kind_of(error)
    message = str(error) if kind is not _UNEXPECTED else _UNEXPECTED_MESSAGE
    return error_body(
        message,
        kind.type,
        param=getattr(error, "param", None),
        code=getattr(error, "code", None) or kind.code,
    )


def error_answer(error: BaseException) -> Answer:
    """Return the answer for an exception raised before any of an answer was sent."""
    return Answer(kind_of(error).status, body_of(error), error_headers(error))


def error_headers(error: BaseException) -> dict[str, str]:
    """Return the headers of an exception's answer."""
    headers = {"content-type": "application/json"}
    if isinstance(error, errors.UpstreamNotReady):
        headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    elif isinstance(error, errors.LimitExceeded):
        if error.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(error.retry_after_s))
            headers["retry-after-ms"] = str(math.ceil(error.retry_after_s * 1000))
        if error.retry_after_s is None or isinstance(error, errors.MoneyLimit):
            # The SDKs would otherwise try again within seconds, and wait for nothing.
            headers["x-should-retry"] = "false"
    return headers


def error_event(error: BaseException) -> Event:
    """Return the event that ends a stream which failed after its head was sent."""
    return data_event(body_of(error))
