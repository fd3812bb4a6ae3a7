"""How a failed call is told to other gateways, so that their clients get the same error."""

from __future__ import annotations

from gateway.errors import (
    GatewayError,
    HopFailed,
    UpstreamBroke,
    UpstreamError,
    UpstreamGarbage,
    UpstreamNotReady,
    UpstreamRefusedUs,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.fleet.messages import Failing

_PLAIN = {error.__name__: error for error in (UpstreamBroke, UpstreamGarbage, UpstreamRefusedUs)}


def told(error: BaseException, attempt: int) -> Failing:
    """Return what is told of a failure; what an unexpected one says stays here."""
    if not isinstance(error, GatewayError):
        return Failing(attempt, HopFailed.__name__, "The gateway that made the call had an error.")
    return Failing(
        attempt,
        type(error).__name__,
        str(error),
        error.cause if isinstance(error, UpstreamError) else "",
        error.retry_after_s if isinstance(error, UpstreamNotReady) else 0,
    )


def raised(failing: Failing) -> GatewayError:
    """Return the error that was told of."""
    name, message = failing.error, failing.message
    if name == UpstreamUnreachable.__name__:
        return UpstreamUnreachable(message, cause=failing.cause)
    if name == UpstreamTimeout.__name__:
        return UpstreamTimeout(message, cause=failing.cause)
    if name == UpstreamNotReady.__name__:
        return UpstreamNotReady(message, retry_after_s=failing.retry_after_s)
    return _PLAIN.get(name, HopFailed)(message)
