"""Makes the prompt shorter for the upstream that was chosen; the request itself, and its cache key, stay.

Fails open: what cannot be read, ranked or done in time goes to the upstream as it came.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import msgspec

from gateway.answer import Answer
from gateway.compression.compress import MIN_CHARS, Compressed, compress
from gateway.compression.economics import Economics
from gateway.compression.gate import Gate
from gateway.compression.mode import LOSSLESS, Mode
from gateway.compression.outcome import BYTES_PER_TOKEN, Compression
from gateway.compression.perplexity.nll import Token
from gateway.compression.perplexity.reading import Read, Reading, reading_with
from gateway.compression.perplexity.scorer import Scorer
from gateway.compression.prompt import NotReadable, Text, read_messages
from gateway.compression.remembered import Remembered, digest, remembering
from gateway.compression.select import Rank
from gateway.config.schema import CompressConfig
from gateway.exchange import Call, Exchange, Route, Scoring
from gateway.pipeline import Next
from gateway.window.aside import Aside
from gateway.wire.request import Endpoint
from gateway.wire.splice import Edit
from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Rank as AskRank
from semantic_cache.semantic.protocol import Ranked
from telemetry import names
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Span, Tracer

MAX_BYTES = 2_000_000
"""A longer prompt goes as it is: the work takes longer than it is waited for."""


class Compress:
    """The hop before the upstream."""

    name = "compress"

    def __init__(
        self,
        config: CompressConfig,
        tracer: Tracer,
        metrics: GatewayMetrics,
        client: SemanticClient | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        """`client` is the way to the semantic process, where there is one; so is `scorer` to a model."""
        self._stages = config.stages
        self._deadline_s = config.deadline_ms / 1000
        self._tracer = tracer
        self._metrics = metrics
        self._client = client
        self._scorer = scorer
        self._economics = Economics()
        self._gate = Gate(self._economics)
        self._ranked: Remembered[list[float] | None] = Remembered()
        self._read: Remembered[list[Reading] | None] = Remembered()
        self._s_per_char = 25e-6

    async def run(self, ex: Exchange, next: Next) -> Answer:
        if ex.fitted is not None and ex.fitted.shorter:
            # It is as short as it has to be, and its edits are in bytes of the client's own.
            return await next(ex)
        # Whoever calls again, perhaps with the whole prompt, starts from the client's own.
        ex.compression = None
        if ex.compress.kind in ("off", "fit") or ex.endpoint is not Endpoint.CHAT or ex.view is None:
            return await next(ex)
        place = ex.view.spans.get("messages")
        if place is None or not MIN_CHARS <= place.end - place.start <= MAX_BYTES:
            return await next(ex)
        started = time.monotonic()
        decided: bool | None = None
        span = self._tracer.start(names.COMPRESS, parent=ex.span)
        try:
            messages = read_messages(ex.body, place.start, place.end)
            texts = [text for message in messages for text in message.texts if len(text.value) >= MIN_CHARS]
            tokens = sum(text.end - text.start for text in texts) // BYTES_PER_TOKEN
            if ex.compress.kind == "auto":
                decided = self._drops(ex, texts[0], tokens) if texts else None
            mode = LOSSLESS if ex.compress.kind == "auto" and not decided else ex.compress
            apart = Aside()
            rank = read = None
            if mode.drops and self._client is not None:
                rank = apart.asking(self._rank(ex.tenant))
            if mode.kind == "ratio" and self._scorer is not None:
                read = apart.asking(self._reader(ex, span))
            scored = len(ex.scorings)
            size = place.end - place.start
            work = partial(compress, messages, mode, stages=self._stages, rank=rank, read=read)
            done = await apart.run(size, work)
            seconds = time.monotonic() - started
            ex.compression = made = _compression(mode, done, size, seconds, ex.scorings[scored:])
            if span.recording:
                span.update(
                    {
                        names.FOREBAY_COMPRESS_MODE: made.mode,
                        names.FOREBAY_COMPRESS_TOKENS_BEFORE: made.tokens_before,
                        names.FOREBAY_COMPRESS_TOKENS_AFTER: made.tokens_after,
                        names.FOREBAY_COMPRESS_RATIO: made.ratio,
                        names.FOREBAY_COMPRESS_STAGES: [
                            f"{name} {saved}" for name, saved in made.stages.items()
                        ],
                        names.FOREBAY_COMPRESS_RANKED: made.ranked,
                    }
                )
                if made.scorer is not None:
                    span.set(names.FOREBAY_COMPRESS_SCORER, made.scorer)
                    span.set(names.FOREBAY_COMPRESS_SCORER_MS, round(1000 * made.scorer_seconds, 2))
            if decided:
                self._economics.compressed(tokens, made.tokens_saved, made.seconds)
            self._metrics.compressed(
                made.mode, made.tokens_before, made.tokens_after, made.stages, made.seconds
            )
        except NotReadable:
            span.fail(NotReadable.__name__)
        finally:
            span.end()
        # Whoever called this hop may go on with another route.
        before, route = len(ex.calls), ex.route
        answer = await next(ex)
        if route is not None:
            ex.at_end(lambda: self._learn(ex.calls[before:], route, decided))
        return answer

    def _drops(self, ex: Exchange, first: Text, tokens: int) -> bool:
        assert ex.route is not None
        upstream, model = ex.route.target.upstream, ex.route.upstream_model
        conversation = digest(ex.tenant, upstream, model, first.value)
        return self._gate.drops(conversation, upstream, model, ex.route.target.price, tokens)

    def _rank(self, tenant: str) -> Rank:
        return remembering(self._ask, self._ranked, tenant)

    async def _ask(self, question: str, texts: Sequence[str]) -> list[float] | None:
        size = sum(map(len, texts))
        # A call that is bound to be late would count as the process's fault.
        if self._client is None or size * self._s_per_char > self._deadline_s:
            return None
        started = time.monotonic()
        found = await self._client.ask(AskRank(question, list(texts)), Ranked, self._deadline_s)
        if found is None or len(found.similarities) != len(texts):
            return None
        if size > 0:
            self._s_per_char += 0.1 * ((time.monotonic() - started) / size - self._s_per_char)
        return found.similarities

    def _reader(self, ex: Exchange, span: Span) -> Read:
        scorer = self._scorer
        assert scorer is not None
        # For the whole prompt: it may have many turns, and only the newest is not remembered.
        ends_s = time.monotonic() + self._deadline_s

        async def score(texts: Sequence[str]) -> list[list[Token]] | None:
            return await scorer.score(ex, span, ends_s, texts)

        return remembering(reading_with(score), self._read, ex.tenant)

    def _learn(self, calls: Sequence[Call], route: Route, decided: bool | None) -> None:
        calls = [call for call in calls if call.model == route.model]
        # Where the model asked for what was left out, no single answer's length tells of growth.
        compared = decided if len(calls) == 1 else None
        for call in calls:
            self._economics.called(call, route.upstream_model, compressed=compared)


def _compression(
    mode: Mode, done: Compressed, size: int, seconds: float, scorings: Sequence[Scoring]
) -> Compression:
    edits = tuple(
        Edit(change.text.start, change.text.end, msgspec.json.encode(change.value)) for change in done.changes
    )
    # A text that was written with escapes may be shorter as it stands than in our own bytes.
    edits = tuple(edit for edit in edits if len(edit.text) < edit.end - edit.start)
    saved = sum(edit.end - edit.start - len(edit.text) for edit in edits)
    return Compression(
        mode.label,
        edits,
        size // BYTES_PER_TOKEN,
        (size - saved) // BYTES_PER_TOKEN,
        {stage: chars // BYTES_PER_TOKEN for stage, chars in done.saved.items()} if edits else {},
        done.ranked,
        seconds,
        tuple(done.changes) if mode.drops else (),
        scorer=scorings[0].model if scorings else None,
        scorer_seconds=sum(scoring.seconds for scoring in scorings),
    )
