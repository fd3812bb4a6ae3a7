"""Asks a model of the configuration for the likelihoods of texts, in one call for all of them.

The call goes to the model's upstream itself, past the pipeline: its prompts are ours, and no cache shall hold
them. It is bounded in time and in size and nobody fails because of it: who gets no answer does without.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.compression.perplexity.nll import Misaligned, Position, Token, aligned
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Route, Scoring
from gateway.upstreams.base import Upstream, UpstreamRequest
from gateway.wire.errors import cause_of
from gateway.wire.request import Endpoint
from gateway.wire.usage import Usage
from telemetry import names
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Kind, Span, Tracer

MOST_CHARS = 3_000
"""Of one text: no model's window is that small."""
MOST_TEXTS = 16
_FIRST_S_PER_CHAR = 250e-6
_LEARN = 0.2
_TWICE, _FORGET = 2.0, 0.97
"""Whoever is late is taken to need twice the time, and a little less with each call that is not made for it:
it may have been a cold start. So of texts of that size every 24th is tried, and larger ones some time."""
_CHARS_PER_TOKEN = 4
_ANSWERED, _LATE, _GARBAGE, _SKIPPED, _CANCELLED = "answered", "late", "garbage", "skipped", "cancelled"


class _Choice(msgspec.Struct):
    index: int
    prompt_logprobs: list[Position]


class _Reply(msgspec.Struct):
    choices: list[_Choice]
    usage: Usage = Usage()


_DECODE = msgspec.json.Decoder(_Reply).decode


@dataclass(slots=True)
class Scorer:
    """A model that says how surprising texts are."""

    route: Route
    """Where a request that names the model would go."""
    upstream: Upstream
    tracer: Tracer
    metrics: GatewayMetrics
    s_per_char: float = field(default=_FIRST_S_PER_CHAR, init=False)
    """What a character takes, as far as was seen."""

    async def score(
        self, ex: Exchange, parent: Span, ends_s: float, texts: Sequence[str]
    ) -> list[list[Token]] | None:
        """Return the tokens of each text, or None if they can't be had by `ends_s` on the monotonic clock."""
        size = sum(map(len, texts))
        started = time.monotonic()
        fits = len(texts) <= MOST_TEXTS and max(map(len, texts), default=0) <= MOST_CHARS
        # A call that is bound to be late would only keep the upstream busy.
        late = size * self.s_per_char > ends_s - started
        if not texts or not fits or late:
            if late:
                self.s_per_char *= _FORGET
            self.metrics.scored(_SKIPPED)
            return None
        span = self.tracer.start(names.COMPRESS_SCORE, kind=Kind.CLIENT, parent=parent)
        outcome, usage, found = _CANCELLED, Usage(size // _CHARS_PER_TOKEN, 0), None
        try:
            async with asyncio.timeout(ends_s - started):
                reply = _DECODE(await self._call(ex, span, texts))
            usage = reply.usage
            found = _tokens(reply, texts)
            outcome = _ANSWERED
            self.s_per_char += _LEARN * ((time.monotonic() - started) / size - self.s_per_char)
        except TimeoutError:
            outcome = _LATE
            self.s_per_char = max(self.s_per_char, _TWICE * (ends_s - started) / size)
        except (_Refused, msgspec.DecodeError, Misaligned):
            outcome = _GARBAGE
        except GatewayError as error:
            outcome, usage = cause_of(error), Usage()
        finally:
            seconds = time.monotonic() - started
            ex.scorings.append(Scoring(self.route.model, self.route.target, usage, seconds))
            self.metrics.scored(outcome, seconds)
            if span.recording:
                span.update(
                    {
                        names.FOREBAY_UPSTREAM: self.upstream.name,
                        names.FOREBAY_COMPRESS_SCORER: self.route.model,
                        names.FOREBAY_COMPRESS_SCORER_TEXTS: len(texts),
                        names.FOREBAY_COMPRESS_SCORER_TOKENS: usage.input_tokens,
                    }
                )
            if outcome != _ANSWERED:
                span.fail(outcome)
            span.end()
        return found

    async def _call(self, ex: Exchange, span: Span, texts: Sequence[str]) -> bytes:
        body = {
            "model": self.route.upstream_model,
            "prompt": list(texts),
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }
        request = UpstreamRequest(
            Endpoint.COMPLETIONS.upstream_path,
            msgspec.json.encode(body),
            False,
            ex.tenant,
            span.context.headers() if self.tracer.enabled else {},
        )
        answer = ex.keep(await self.upstream.send(request))
        if answer.status != 200 or not isinstance(answer.body, bytes):
            raise _Refused
        return answer.body


class _Refused(Exception):
    """The upstream answered, and not with likelihoods."""


def _tokens(reply: _Reply, texts: Sequence[str]) -> list[list[Token]]:
    told = {choice.index: choice.prompt_logprobs for choice in reply.choices}
    if len(told) != len(texts):
        raise Misaligned("there are not as many answers as texts")
    return [aligned(text, told.get(place, [])) for place, text in enumerate(texts)]
