"""An upstream's content as it comes in, with the time that it may take."""

from __future__ import annotations

from gateway.config.schema import Timeouts
from gateway.errors import UpstreamBroke, UpstreamGarbage, UpstreamTimeout
from gateway.upstreams.http1.client import Response
from gateway.upstreams.http1.errors import Closed, ProtocolError, TimedOut
from telemetry import names


class Content:
    """Reads an answer's body: the first chunk has as long as the head had, every later one the idle time."""

    __slots__ = ("_cause", "_idle_s", "_name", "_patience_s", "_response")

    def __init__(self, name: str, timeouts: Timeouts, response: Response) -> None:
        self._name = name
        self._response = response
        self._patience_s, self._cause = timeouts.first_byte, names.FIRST_BYTE_TIMEOUT
        self._idle_s = timeouts.idle

    async def read(self, at_most_s: float = float("inf")) -> bytes:
        """Return what has come in, or b"" at the end. Raises UpstreamError."""
        try:
            chunk = await self._response.read(min(self._patience_s, at_most_s))
        except TimedOut as error:
            raise late(self._name, "sent nothing", self._patience_s, self._cause) from error
        except Closed as error:
            raise UpstreamBroke(
                f"The upstream '{self._name}' broke off in the middle of its answer."
            ) from error
        except ProtocolError as error:
            raise UpstreamGarbage(f"The upstream '{self._name}' sent {error}.") from error
        self._patience_s, self._cause = self._idle_s, names.IDLE_TIMEOUT
        return chunk


def late(name: str, what: str, seconds: float, cause: str) -> UpstreamTimeout:
    """Return the error of an upstream that let one of its timeouts pass."""
    return UpstreamTimeout(f"The upstream '{name}' {what} within {seconds:g} seconds.", cause=cause)
