"""Everything the gateway raises on purpose. `gateway.wire.errors` maps each leaf to a status and OpenAI type.

GatewayError
├── ConfigError                 the configuration cannot be used; says where
├── RequestError                the caller's fault; `param` and `code` as in OpenAI's errors
│   ├── InvalidRequest          400: can never succeed as sent
│   ├── ModelNotFound           404
│   ├── Unauthenticated         401: no key, or none that is valid
│   ├── NotInCache              504: `only-if-cached`, and there is no stored answer
│   ├── RequestNotFound         404: no settled request of that id is remembered
│   ├── PromptTooLong           400: for the model's window, and nothing could be done about it
│   ├── RequestStalled          408: the body stopped arriving
│   ├── BodyTooLarge            413
│   ├── UnsupportedMediaType    415
│   ├── ExpectationFailed       417: an `Expect` header that is not `100-continue`
│   └── LimitExceeded           429: a limit of the tenant
│       ├── RequestLimit        requests per minute
│       ├── TokenLimit          tokens per minute
│       └── MoneyLimit          US dollars per day
├── StateUnavailable            503: the store of keys and accounts did not answer
├── HopFailed                   500: a hop that must not be left out failed or ran past its deadline
├── UpstreamError               the upstream's fault; `cause` is its name in metrics and spans
│   ├── UpstreamUnreachable     502: no connection, or closed before an answer began
│   ├── UpstreamGarbage         502: something that is not the OpenAI protocol
│   ├── UpstreamRefusedUs       502: the upstream did not accept the gateway's own credentials
│   ├── UpstreamBroke           502: the answer ended before it was complete
│   ├── UpstreamNotReady        503: still starting, or restarting
│   └── UpstreamTimeout         504: connecting, waiting for the first byte, or between two bytes
├── ClientDisconnected          499, never sent: the client left before its answer was complete
└── Draining                    503: the gateway shut down before the answer was complete
"""

from __future__ import annotations

from telemetry import names


class GatewayError(Exception):
    """Root of the gateway's exceptions."""


class ConfigError(GatewayError):
    """The configuration cannot be used. The message names the place: file, line and column, or variable."""


class RequestError(GatewayError):
    """The caller's fault."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class Unauthenticated(RequestError):
    """The gateway asks for a key, and the request has none that is valid. It never says what was wrong."""

    def __init__(self) -> None:
        super().__init__(
            "Incorrect API key provided. Send a valid key of this gateway as 'Authorization: Bearer fb-…'."
        )


class InvalidRequest(RequestError):
    """A request that can never succeed as sent."""


class ModelNotFound(RequestError):
    """No route, model or pass-through has this name."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model `{model}` does not exist or you do not have access to it.", param="model"
        )


class NotInCache(RequestError):
    """The request wants a stored answer or none, and there is none (RFC 9111, section 5.2.1.7)."""


class RequestNotFound(RequestError):
    """No settled request of this id is remembered."""


class PromptTooLong(RequestError):
    """The prompt does not fit the model's context window, and could not be made to."""

    def __init__(self, message: str) -> None:
        super().__init__(message, param="messages", code="context_length_exceeded")


class RequestStalled(RequestError):
    """The request's body stopped arriving."""


class BodyTooLarge(RequestError):
    """The request's body is larger than the configured bound."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than {limit} bytes, the limit of this gateway.")


class UnsupportedMediaType(RequestError):
    """The body is not declared as JSON."""


class ExpectationFailed(RequestError):
    """The request has an `Expect` header that this server does not know."""


class LimitExceeded(RequestError):
    """A limit of the tenant. `retry_after_s` is None if the request is larger than the whole limit."""

    def __init__(self, message: str, *, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestLimit(LimitExceeded):
    """Requests per minute."""


class TokenLimit(LimitExceeded):
    """Tokens per minute."""


class MoneyLimit(LimitExceeded):
    """US dollars per day."""


class StateUnavailable(GatewayError):
    """The store of keys and accounts did not answer, and without it nobody may be let through."""


class HopFailed(GatewayError):
    """A hop that must not be left out failed or ran past its deadline."""


class UpstreamError(GatewayError):
    """The upstream's fault. `cause` is one of `telemetry.names`' values of `error.type`."""

    cause: str = names.INTERNAL_ERROR


class UpstreamUnreachable(UpstreamError):
    """No connection could be made, or it was closed before an answer began."""

    def __init__(self, message: str, *, cause: str = names.CONNECT_ERROR) -> None:
        super().__init__(message)
        self.cause = cause


class UpstreamGarbage(UpstreamError):
    """The upstream's answer is not the OpenAI protocol."""

    cause = names.INVALID_RESPONSE


class UpstreamRefusedUs(UpstreamError):
    """The upstream did not accept the gateway's own credentials."""

    cause = "401"


class UpstreamBroke(UpstreamError):
    """The upstream's answer ended before it was complete."""

    cause = names.UPSTREAM_CLOSED


class UpstreamNotReady(UpstreamError):
    """The upstream is still starting; `retry_after_s` says when to come back."""

    cause = "not_ready"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UpstreamTimeout(UpstreamError):
    """The upstream took longer than one of its configured timeouts."""

    def __init__(self, message: str, *, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class ClientDisconnected(GatewayError):
    """The client left before its answer was complete."""


class Draining(GatewayError):
    """The gateway shut down before the answer was complete."""
