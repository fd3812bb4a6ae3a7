"""Requests of our own, on the account of a request that needs them.

Each is a request like any other: limited, cached, traced under the span of the one that asked, and settled
with a record of its own. What it cost is part of what that one cost; it is charged once. A hop that makes
such requests looks at `Exchange.origin` first, so that none of them makes further ones without end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.answer import Answer
from gateway.errors import GatewayError, UpstreamGarbage, UpstreamTimeout
from gateway.exchange import Exchange
from gateway.wire.headers import COMPRESS
from gateway.wire.request import Endpoint
from semantic_cache.directives import CACHE_CONTROL
from telemetry import names

FRESH = "no-cache, no-store"
"""For what shall neither come from the cache nor get into it."""


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice]


_DECODE = msgspec.json.Decoder(_Reply).decode


@dataclass(frozen=True, slots=True)
class Said:
    """What a model answered."""

    text: str
    finish_reason: str | None
    status: int
    body: bytes
    """The whole completion; with another status than 200, the error as the upstream sent it."""


class Subrequests:
    """Sends chat completions through the gateway's own pipeline."""

    def bind(self, run: Callable[[Exchange], Awaitable[Answer]]) -> None:
        """Say what runs an exchange: the pipeline that whoever asks is itself a part of."""
        self._run = run

    async def ask(
        self,
        ex: Exchange,
        body: Mapping[str, Any],
        *,
        cache_control: str | None = None,
        headers: Mapping[str, str] | None = None,
        patience_s: float | None = None,
    ) -> Said:
        """Return the answer to a request of `ex`'s tenant; it ends when whoever waits for it is cancelled.

        Prompts go uncompressed unless `headers` say otherwise. Raises GatewayError: UpstreamGarbage for an
        answer that is no chat completion, UpstreamTimeout for one that takes longer than `patience_s`.
        """
        clock = asyncio.timeout(patience_s)

        def why_cancelled() -> GatewayError:
            # Cancelled by the clock is not left by the client.
            if not clock.expired():
                return ex.why_cancelled()
            return UpstreamTimeout(f"There was no answer within {patience_s:g} s.", cause=names.GIVEN_UP)

        inner = self._exchange(ex, msgspec.json.encode(body), cache_control, headers or {})
        inner.why_cancelled = why_cancelled
        ex.inner.append(inner)
        try:
            async with clock:
                return await self._said(inner)
        except TimeoutError:
            raise why_cancelled() from None

    async def _said(self, inner: Exchange) -> Said:
        answer: Answer | None = None
        try:
            answer = await self._run(inner)
            inner.status = answer.status
            if not isinstance(answer.body, bytes):
                raise UpstreamGarbage("The answer to a request of the gateway's own came as a stream.")
            if answer.status != 200:
                return Said("", None, answer.status, answer.body)
            choice = _DECODE(answer.body).choices[0]
            return Said(choice.message.content or "", choice.finish_reason, 200, answer.body)
        except GatewayError as error:
            inner.error = error
            raise
        except (msgspec.DecodeError, IndexError) as error:
            inner.error = UpstreamGarbage("The answer to a request of the gateway's own is no completion.")
            raise inner.error from error
        except BaseException:
            inner.error = inner.why_cancelled()
            raise
        finally:
            if answer is not None and inner.error is not None:
                answer.close(inner.error)
            inner.end()

    def _exchange(
        self, ex: Exchange, body: bytes, cache_control: str | None, more: Mapping[str, str]
    ) -> Exchange:
        async def receive(limit: int) -> bytes:
            return body

        headers = {"content-type": "application/json", COMPRESS: "off", **more}
        if cache_control is not None:
            headers[CACHE_CONTROL] = cache_control
        if (key := ex.headers.get("authorization")) is not None:
            headers["authorization"] = key
        context = ex.span.context if ex.span.context.valid else ex.caller
        if context is not None:
            headers |= context.headers()
        return Exchange(Endpoint.CHAT, headers, receive, origin=ex)
