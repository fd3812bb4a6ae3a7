"""Makes a prompt fit that is longer than the context window of the model that was chosen for it.

The usual request costs a comparison of two lengths here. What does not fit, or is refused by the upstream as
too long before anything of an answer came, goes to a model of a longer window, or becomes shorter by one
strategy after the other until one will do (`window/fitting.py`). The request itself and its cache key stay,
as with the compressor.

Fails open: where the hop itself goes wrong the prompt goes as it came.
"""

from __future__ import annotations

import time

import structlog

from gateway.answer import Answer, EventStream
from gateway.errors import GatewayError, PromptTooLong
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.window.fitting import Fitting, Ways
from gateway.window.outcome import Fitted
from gateway.window.underway import HEADERS, Tell, Underway, nobody_listens
from gateway.window.windows import Overlength, Windows
from gateway.wire.request import Endpoint
from telemetry import names
from telemetry.metrics import GatewayMetrics
from telemetry.spans import Span, Tracer

_log = structlog.get_logger("gateway.pipeline")


class Fit:
    """The hop before the compressor."""

    name = "fit"

    def __init__(self, ways: Ways, windows: Windows, tracer: Tracer, metrics: GatewayMetrics) -> None:
        self._ways = ways
        self._windows = windows
        self._tracer = tracer
        self._metrics = metrics

    async def run(self, ex: Exchange, next: Next) -> Answer:
        ex.fitted = None
        # What a strategy asks must not need one itself.
        if ex.fit.kind == "off" or ex.endpoint is not Endpoint.CHAT or ex.origin is not None:
            return await next(ex)
        assert ex.route is not None and ex.view is not None
        self._windows.watch(ex)
        too_long = await self._windows.measure(ex, ex.route)
        refusal = None
        if too_long is None:
            answer = await next(ex)
            if answer.status < 400:
                return answer
            too_long = await self._windows.learn(ex, answer)
            if too_long is None or too_long.limit <= 0:
                return answer
            refusal = answer
        if not ex.view.stream or _is_held(ex):
            return await self._fit(ex, next, too_long, refusal, nobody_listens)

        async def work(tell: Tell) -> Answer:
            return await self._fit(ex, next, too_long, refusal, tell)

        underway = Underway(work, lambda: ex.error or ex.why_cancelled())
        if (answer_at_once := await underway.quick()) is not None:
            return answer_at_once
        return ex.keep(Answer(200, EventStream(underway, underway.close), dict(HEADERS)))

    async def _fit(
        self, ex: Exchange, next: Next, too_long: Overlength, refusal: Answer | None, tell: Tell
    ) -> Answer:
        """Return the answer to a prompt that has been made to fit; of estimates, two may be wrong."""
        fits = await self._shorten(ex, too_long, tell, certain=too_long.exact or refusal is not None)
        if refusal is not None:
            return await next(ex) if fits else refusal
        answer = await next(ex)
        if fits and (again := await self._windows.learn(ex, answer)) is not None and again.limit > 0:
            return await self._fit(ex, next, again, answer, tell)
        return answer

    async def _shorten(self, ex: Exchange, too_long: Overlength, tell: Tell, *, certain: bool) -> bool:
        """Change what the upstream gets; return whether it fits then, as far as is known.

        Raises PromptTooLong if the prompt is certainly too long, and all that was tried is not enough.
        """
        ex.compression = ex.fitted = None
        started = time.monotonic()
        span = self._tracer.start(names.FIT, parent=ex.span)
        asking = ex.branch()
        if span.recording:
            # What it asks stands under the span of this hop.
            asking.span = span
        fitting = Fitting(ex, asking, too_long, self._ways, self._windows, tell)
        outcome = "broken_off"
        try:
            await fitting.run()
            outcome = "failed" if ex.fitted is None else "fitted"
            if ex.fitted is None and certain and (fitting.tried or too_long.exact):
                raise _error(ex, too_long, fitting)
            return ex.fitted is not None
        except GatewayError as error:
            span.fail(type(error).__name__)
            raise
        except Exception as error:
            ex.compression = ex.fitted = None
            span.fail(type(error).__name__)
            _log.warning("hop_skipped", hop=self.name, request_id=ex.id, error=type(error).__name__)
            return False
        finally:
            _describe(span, ex.fitted)
            span.end()
            strategy = "" if ex.fitted is None else ex.fitted.strategy
            seconds = time.monotonic() - started
            self._metrics.fitted(strategy, outcome, calls=fitting.calls.made, seconds=seconds)


def _is_held(ex: Exchange) -> bool:
    """Return whether a route may hold this stream back to judge it: then nobody would hear of progress."""
    tiers = None if ex.route is None else ex.route.tiers
    return ex.route is not None and tiers is not None and ex.route.label != tiers.large.label


def _error(ex: Exchange, too_long: Overlength, fitting: Fitting) -> PromptTooLong:
    assert ex.route is not None
    about = "" if too_long.exact else "about "
    return PromptTooLong(
        f"The prompt has {about}{too_long.tokens} tokens, and {too_long.reserve} are kept for the answer: "
        f"more than the {too_long.window} that '{ex.route.label}' holds. It could not be made to fit: "
        f"{'; '.join(fitting.reasons)}."
    )


def _describe(span: Span, fitted: Fitted | None) -> None:
    if span.recording and fitted is not None:
        span.update(
            {
                names.FOREBAY_FIT_STRATEGY: fitted.strategy,
                names.FOREBAY_FIT_WINDOW: fitted.window,
                names.FOREBAY_FIT_TOKENS_BEFORE: fitted.tokens_before,
                names.FOREBAY_FIT_TOKENS_AFTER: fitted.tokens_after,
                names.FOREBAY_FIT_EXACT: fitted.exact,
                names.FOREBAY_FIT_WINDOWS: fitted.windows,
                names.FOREBAY_FIT_LEFT_OUT: fitted.left_out,
                names.FOREBAY_FIT_CALLS: fitted.calls,
            }
        )
