"""What the engine counts, in vLLM's suffixes."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from telemetry import names
from telemetry.metrics.base import (
    ITERATION_TOKEN_BUCKETS,
    LATENCY_BUCKETS,
    LENGTH_BUCKETS,
    TOKEN_BUCKETS,
    Children,
    CounterOf,
    render,
)


class EngineMetrics:
    """One engine process's metrics. Gauges are read at scrape time, so the step loop never sets them."""

    def __init__(
        self,
        *,
        running: Callable[[], float],
        waiting: Callable[[], float],
        kv_usage: Callable[[], float],
        prefix_queries: Callable[[], int],
        prefix_hits: Callable[[], int],
        preemptions: Callable[[], int],
        spans_dropped: Callable[[], int] | None = None,
    ) -> None:
        """All of these read the engine: a scrape half way through an answer sees what has happened so far.

        `running` and `waiting` count requests, `kv_usage` is the used share of the KV pool, 0 to 1;
        `prefix_queries` and `prefix_hits` count tokens, `preemptions` sequences.
        """
        self.registry = CollectorRegistry(auto_describe=False)
        for name, documentation, read in (
            (names.M_ENGINE_RUNNING, "Requests in the batch.", running),
            (names.M_ENGINE_WAITING, "Requests waiting for room in the batch.", waiting),
            (names.M_ENGINE_KV_USAGE, "Share of the KV pool's blocks in use, 0 to 1.", kv_usage),
        ):
            Gauge(name, documentation, registry=self.registry).set_function(read)
        if spans_dropped is not None:
            documentation = "Spans lost on their way to the collector."
            self.registry.register(CounterOf(names.M_ENGINE_SPANS_DROPPED, documentation, spans_dropped))

        for name, documentation, count in (
            (names.M_ENGINE_PREFIX_QUERIES, "Prompt tokens looked up in the prefix cache.", prefix_queries),
            (names.M_ENGINE_PREFIX_HITS, "Prompt tokens found in the prefix cache.", prefix_hits),
            (
                names.M_ENGINE_PREEMPTIONS,
                "Sequences put out of the batch for want of blocks.",
                preemptions,
            ),
        ):
            self.registry.register(CounterOf(name, documentation, count))
        self._prompt_tokens = self._counter(names.M_ENGINE_PROMPT_TOKENS, "Prompt tokens of ended requests.")
        self.generation_tokens = self._counter(names.M_ENGINE_GENERATION_TOKENS, "Tokens generated.")
        self._success = Children(
            Counter(names.M_ENGINE_SUCCESS, "Requests ended.", ("finished_reason",), registry=self.registry)
        )
        self.iteration_tokens = self._histogram(
            names.M_ENGINE_ITERATION_TOKENS, "Tokens computed in one step.", ITERATION_TOKEN_BUCKETS
        )
        """`observe(tokens)` once a step."""
        self.inter_token_latency = self._histogram(
            names.M_ENGINE_ITL, "Time between two tokens of one sequence.", TOKEN_BUCKETS
        )
        """`observe(seconds)` once a token after the first."""
        self._ttft = self._histogram(names.M_ENGINE_TTFT, "Time from arrival to the first token.")
        self._e2e = self._histogram(names.M_ENGINE_E2E, "Time from arrival to the last token.")
        self._queue = self._histogram(names.M_ENGINE_QUEUE_TIME, "Time spent waiting for the batch.")
        self._prefill = self._histogram(
            names.M_ENGINE_PREFILL_TIME, "Time from joining the batch to the first token."
        )
        self._decode = self._histogram(names.M_ENGINE_DECODE_TIME, "Time from the first token to the last.")
        self._prompt_lengths = self._histogram(
            names.M_ENGINE_REQUEST_PROMPT_TOKENS, "Prompt tokens of a request.", LENGTH_BUCKETS
        )
        self._generation_lengths = self._histogram(
            names.M_ENGINE_REQUEST_GENERATION_TOKENS, "Tokens generated for a request.", LENGTH_BUCKETS
        )
        self._drafts = self._counter(names.M_ENGINE_DRAFTS, "Drafts verified.")
        self._draft_tokens = self._counter(names.M_ENGINE_DRAFT_TOKENS, "Tokens drafted.")
        self._accepted_tokens = self._counter(names.M_ENGINE_ACCEPTED_TOKENS, "Drafted tokens accepted.")
        self._accepted_per_pos = Children(
            Counter(
                names.M_ENGINE_ACCEPTED_PER_POS,
                "Drafts of which the token at this position, counted from 0, was accepted.",
                ("position",),
                registry=self.registry,
            )
        )

    def finished(
        self,
        reason: str,
        *,
        num_prompt_tokens: int,
        num_generated_tokens: int,
        e2e_s: float,
        queue_s: float | None = None,
        ttft_s: float | None = None,
        prefill_s: float | None = None,
        decode_s: float | None = None,
    ) -> None:
        """Count one request that has ended; phases that it never reached are left out.

        `reason` is a finish reason: `stop`, `length`, `abort` or `deadline`.
        """
        self._success.of(reason).inc()
        self._e2e.observe(e2e_s)
        self._prompt_tokens.inc(num_prompt_tokens)
        self._prompt_lengths.observe(num_prompt_tokens)
        self._generation_lengths.observe(num_generated_tokens)
        for histogram, value in (
            (self._queue, queue_s),
            (self._ttft, ttft_s),
            (self._prefill, prefill_s),
            (self._decode, decode_s),
        ):
            if value is not None:
                histogram.observe(value)

    def drafted(self, num_tokens: int, num_accepted: int) -> None:
        """Count one verified draft; mean acceptance length is 1 + accepted tokens / drafts, as in vLLM."""
        self._drafts.inc()
        self._draft_tokens.inc(num_tokens)
        self._accepted_tokens.inc(num_accepted)
        for position in range(num_accepted):
            self._accepted_per_pos.of(str(position)).inc()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return body and content type of a scrape; `accept` is the request's Accept header."""
        return render(self.registry, accept)

    def _counter(self, name: str, documentation: str) -> Counter:
        return Counter(name, documentation, registry=self.registry)

    def _histogram(
        self, name: str, documentation: str, buckets: tuple[float, ...] = LATENCY_BUCKETS
    ) -> Histogram:
        return Histogram(name, documentation, buckets=buckets, registry=self.registry)
