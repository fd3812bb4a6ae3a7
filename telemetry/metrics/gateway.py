"""What the gateway counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge

from telemetry import names
from telemetry.metrics.base import LATENCY_BUCKETS, OVERHEAD_BUCKETS, CounterOf, LabelValues, render
from telemetry.metrics.tally import Counts, Distributions

MAX_MODELS = 100
MAX_TENANTS = 100


class GatewayMetrics:
    """One gateway process's metrics. Updates belong to the event loop's thread."""

    def __init__(self, spans_dropped: Callable[[], int] | None = None) -> None:
        """`spans_dropped` reads how many spans were lost (`Telemetry.dropped`)."""
        self.registry = CollectorRegistry(auto_describe=False)
        registry = self.registry
        self._requests = self._counts(names.M_REQUESTS, "Requests answered.", ("route", "model", "status"))
        self._duration = self._distributions(
            names.M_REQUEST_DURATION,
            "Time from a request's head to the last byte of its answer.",
            ("route", "model"),
            LATENCY_BUCKETS,
        )
        self._first_byte = self._distributions(
            names.M_TIME_TO_FIRST_BYTE,
            "Time from a request's head to the first byte of its answer's body.",
            ("route", "model"),
            LATENCY_BUCKETS,
        )
        self._overhead = self._distributions(
            names.M_OVERHEAD,
            "Time that the gateway added: all that was not waiting for an upstream or the client.",
            ("route",),
            OVERHEAD_BUCKETS,
        )
        self._upstream_errors = self._counts(
            names.M_UPSTREAM_ERRORS, "Failed calls to an upstream.", ("upstream", "error_type")
        )
        self._tokens = self._counts(names.M_TOKENS, "Tokens of answered requests.", ("model", "kind"))
        self._cost = self._counts(names.M_COST, "Price of answered requests in US dollars.", ("model",))
        self._rejections = self._counts(
            names.M_LIMIT_REJECTIONS,
            "Requests refused because a limit of their tenant was reached.",
            ("tenant", "limit"),
        )
        self._state_errors = self._counts(
            names.M_STATE_ERRORS,
            "Calls that the store of keys and accounts did not answer.",
            ("part",),
        )
        self._cache_requests = self._counts(
            names.M_CACHE_REQUESTS, "Requests by what the cache made of them.", ("verdict",)
        )
        self._cache_admissions = self._counts(
            names.M_CACHE_ADMISSIONS, "Answers by whether they were stored, and if not, why.", ("outcome",)
        )
        self._cache_flights = self._counts(
            names.M_CACHE_FLIGHTS,
            "Calls that other gateways might share, by what came of that.",
            ("outcome",),
        )
        self._cache_confirmations = self._counts(
            names.M_CACHE_CONFIRMATIONS,
            "Fresh answers in shared scopes by whether they confirmed another tenant's, and if not, why.",
            ("outcome",),
        )
        self._cache_events = self._counts(
            names.M_CACHE_STORE_EVENTS,
            "What the store told of itself: calls it did not answer, corrupt and evicted entries.",
            ("event",),
        )
        self._semantic_calls = self._counts(
            names.M_SEMANTIC_CALLS, "Calls of the semantic process by what became of them.", ("outcome",)
        )
        self._semantic_decisions = self._counts(
            names.M_SEMANTIC_DECISIONS,
            "Requests by what the semantic tier did with them, and why.",
            ("action", "reason"),
        )
        self._semantic_admissions = self._counts(
            names.M_SEMANTIC_ADMISSIONS,
            "Stored answers by whether they may answer other questions, and if not, why.",
            ("outcome",),
        )
        self._semantic_labels = self._counts(
            names.M_SEMANTIC_LABELS,
            "Stored answers found right or wrong for another question.",
            ("source", "label"),
        )
        self._semantic_saved = self._counts(
            names.M_SEMANTIC_SAVED,
            "US dollars that the answers had cost which were served, or would have been (mode observe).",
            ("mode",),
        )
        self._semantic_duration = self._distributions(
            names.M_SEMANTIC_DURATION,
            "Time that a request waited for the semantic process.",
            (),
            LATENCY_BUCKETS,
        )
        self._route_answers = self._counts(
            names.M_ROUTE_ANSWERS,
            "Judged requests of a route by the model that answered.",
            ("route", "model"),
        )
        self._route_outcomes = self._counts(
            names.M_ROUTE_OUTCOMES,
            "Answers of smaller models that were compared with the last one's.",
            ("route", "source", "label"),
        )
        self._route_regret = self._counts(
            names.M_ROUTE_REGRET,
            "Estimated requests whose answer was not what the last model would have said.",
            ("route",),
        )
        self._route_shadow_cost = self._counts(
            names.M_ROUTE_SHADOW_COST, "Price of what models were asked in the background.", ("route",)
        )
        self._route_drift = Gauge(
            names.M_ROUTE_DRIFT,
            "Models of a route that are not trusted any more.",
            ("route",),
            registry=registry,
        )
        self._compress_requests = self._counts(
            names.M_COMPRESS_REQUESTS,
            "Prompts that were looked at, by mode and whether they changed.",
            ("mode", "changed"),
        )
        self._compress_tokens = self._counts(
            names.M_COMPRESS_TOKENS, "Estimated tokens of those prompts before and after.", ("mode", "when")
        )
        self._compress_saved = self._counts(
            names.M_COMPRESS_SAVED, "Estimated tokens that each stage took away.", ("stage",)
        )
        self._compress_duration = self._distributions(
            names.M_COMPRESS_DURATION, "Time that compressing a prompt took.", ("mode",), OVERHEAD_BUCKETS
        )
        self._fit = self._counts(
            names.M_FIT,
            "Prompts longer than their model's window, by what made them fit and what came of that.",
            ("strategy", "outcome"),
        )
        self._fit_calls = self._counts(
            names.M_FIT_CALLS, "Calls that requests made of their own to fit.", ("strategy",)
        )
        self._fit_duration = self._distributions(
            names.M_FIT_DURATION, "Time that making a prompt fit took.", ("strategy",), LATENCY_BUCKETS
        )
        self._compress_retrievals = self._counts(
            names.M_COMPRESS_RETRIEVALS,
            "Calls of models for text that was left out of their prompts, by what became of them.",
            ("outcome",),
        )
        self._savings_usd = self._counts(
            names.M_SAVINGS_USD,
            "US dollars by which each layer made answers cheaper than they would have been without it.",
            ("tenant", "layer"),
        )
        self._savings_added_usd = self._counts(
            names.M_SAVINGS_ADDED_USD,
            "US dollars by which each layer made answers dearer.",
            ("tenant", "layer"),
        )
        self._savings_seconds = self._counts(
            names.M_SAVINGS_SECONDS,
            "Estimated seconds by which each layer made answers faster.",
            ("tenant", "layer"),
        )
        self._savings_added_seconds = self._counts(
            names.M_SAVINGS_ADDED_SECONDS,
            "Estimated seconds by which each layer made answers slower.",
            ("tenant", "layer"),
        )
        self._savings_requests = self._counts(
            names.M_SAVINGS_REQUESTS, "Requests that each layer had a part in.", ("tenant", "layer")
        )
        self._scorer_calls = self._counts(
            names.M_COMPRESS_SCORER_CALLS, "Calls of the model that scores prompts.", ("outcome",)
        )
        self._scorer_duration = self._distributions(
            names.M_COMPRESS_SCORER_DURATION, "Time that such a call took.", (), LATENCY_BUCKETS
        )
        self.in_flight = 0
        """One more when a request comes in, one less when it is over."""
        in_flight = Gauge(names.M_IN_FLIGHT, "Requests being answered now.", registry=registry)
        in_flight.set_function(lambda: self.in_flight)
        if spans_dropped is not None:
            registry.register(
                CounterOf(names.M_SPANS_DROPPED, "Spans lost on their way to the collector.", spans_dropped)
            )
        self._models = LabelValues(MAX_MODELS)
        self._tenants = LabelValues(MAX_TENANTS)

    def request(
        self,
        *,
        route: str,
        model: str,
        status: int,
        duration_s: float,
        overhead_s: float | None = None,
        first_byte_s: float | None = None,
    ) -> None:
        """Count one request that has ended. `model` is the requested name, "" where there is none."""
        model = self._models.bound(model)
        self._requests.of(route, model, str(status)).inc()
        self._duration.of(route, model).observe(duration_s)
        if first_byte_s is not None:
            self._first_byte.of(route, model).observe(first_byte_s)
        if overhead_s is not None:
            self._overhead.of(route).observe(overhead_s)

    def upstream_error(self, upstream: str, error_type: str) -> None:
        """Count one failed call; `upstream` is its name in the config, `error_type` the span's."""
        self._upstream_errors.of(upstream, error_type).inc()

    def limit_rejection(self, tenant: str, limit: str) -> None:
        """Count one refused request; `limit` is the span's `forebay.limit`."""
        self._rejections.of(self._tenants.bound(tenant), limit).inc()

    def state_error(self, part: str) -> None:
        """Count one failure of the store of `keys`, of the `ledger` or of `savings`."""
        self._state_errors.of(part).inc()

    def cache_request(self, verdict: str) -> None:
        """Count one request; `verdict` is the value of `x-forebay-cache`."""
        self._cache_requests.of(verdict).inc()

    def cache_admission(self, outcome: str) -> None:
        """Count one answer: `stored`, or the word that says why it was not."""
        self._cache_admissions.of(outcome).inc()

    def cache_flight(self, outcome: str) -> None:
        """Count one call: `led`, `shared`, `took_over`, `followed`, `stored`, or why it was not shared."""
        self._cache_flights.of(outcome).inc()

    def cache_confirmation(self, outcome: str) -> None:
        """Count one fresh answer: `confirmed`, or the word that says why it confirmed nothing."""
        self._cache_confirmations.of(outcome).inc()

    def cache_store_event(self, event: str, count: int) -> None:
        """Count `unavailable`, `corrupt` or `evicted`."""
        self._cache_events.of(event).inc(count)

    def semantic_call(self, outcome: str) -> None:
        """Count one call of the semantic process: `answered`, `failed`, `late`, `down` or `full`."""
        self._semantic_calls.of(outcome).inc()

    def semantic_decision(self, action: str, reason: str) -> None:
        """Count one request: `serve`, `would_serve`, `explore`, `miss` or `skip`, and why."""
        self._semantic_decisions.of(action, reason).inc()

    def semantic_admission(self, outcome: str) -> None:
        """Count one stored answer: `stored`, or the word that says why it answers no other question."""
        self._semantic_admissions.of(outcome).inc()

    def semantic_label(self, source: str, same: bool | None) -> None:
        """Count one label of `answers`, `judge` or `feedback`; None is one that could not be had."""
        label = {True: "same", False: "different", None: "unknown"}[same]
        self._semantic_labels.of(source, label).inc()

    def semantic_saved(self, mode: str, usd: float) -> None:
        """Add what an answer had cost that was served (`serve`) or would have been (`observe`)."""
        self._semantic_saved.of(mode).inc(usd)

    def semantic_duration(self, seconds: float) -> None:
        """Note how long a request waited for the semantic process."""
        self._semantic_duration.of().observe(seconds)

    def route_answer(self, route: str, model: str) -> None:
        """Count one request of a route that learns, by the model whose answer the client got."""
        self._route_answers.of(route, model).inc()

    def route_outcome(self, route: str, source: str, agrees: bool | None) -> None:
        """Count one comparison, of an `escalation` or a `shadow`; None is one that told nothing."""
        label = {True: "same", False: "different", None: "unknown"}[agrees]
        self._route_outcomes.of(route, source, label).inc()

    def route_regret(self, route: str, weight: float) -> None:
        """Count one kept answer that was wrong for the `weight` requests that it stands for."""
        self._route_regret.of(route).inc(weight)

    def route_shadow_cost(self, route: str, usd: float) -> None:
        """Add what background calls cost."""
        self._route_shadow_cost.of(route).inc(usd)

    def route_drift(self, route: str, tiers: int) -> None:
        """Say how many models of a route are not trusted any more."""
        self._route_drift.labels(route).set(tiers)

    def compressed(
        self, mode: str, before: int, after: int, stages: Mapping[str, int], seconds: float
    ) -> None:
        """Count one prompt: its tokens before and after, and what each stage saved."""
        kind = mode.partition(":")[0]
        self._compress_requests.of(kind, "yes" if after < before else "no").inc()
        self._compress_tokens.of(kind, "before").inc(before)
        self._compress_tokens.of(kind, "after").inc(after)
        for stage, saved in stages.items():
            # Naming what was left out may take more than a small cut saved.
            self._compress_saved.of(stage).inc(max(0, saved))
        self._compress_duration.of(kind).observe(seconds)

    def fitted(self, strategy: str, outcome: str, *, calls: int, seconds: float) -> None:
        """Count one prompt that was too long: `fitted`, `failed` or `broken_off`. Without a strategy none
        was found."""
        self._fit.of(strategy or "none", outcome).inc()
        self._fit_calls.of(strategy or "none").inc(calls)
        self._fit_duration.of(strategy or "none").observe(seconds)

    def retrieved(self, outcome: str) -> None:
        """Count a model's call for text that was left out, or `unavailable` for a prompt that could not be
        kept."""
        self._compress_retrievals.of(outcome).inc()

    def saved(self, tenant: str, layer: str, requests: int, usd: float, seconds: float) -> None:
        """Count what a layer saved, or cost if that is below zero; `seconds` is an estimate."""
        tenant = self._tenants.bound(tenant)
        self._savings_requests.of(tenant, layer).inc(requests)
        (self._savings_usd if usd >= 0 else self._savings_added_usd).of(tenant, layer).inc(abs(usd))
        longer = self._savings_seconds if seconds >= 0 else self._savings_added_seconds
        longer.of(tenant, layer).inc(abs(seconds))

    def scored(self, outcome: str, seconds: float | None = None) -> None:
        """Count one call of the compressor's scorer: `answered`, `late`, `garbage`, `skipped` because it was
        bound to be late, or the upstream's `error.type`."""
        self._scorer_calls.of(outcome).inc()
        if seconds is not None:
            self._scorer_duration.of().observe(seconds)

    def usage(
        self, *, model: str, input_tokens: int, output_tokens: int, cached_tokens: int, cost_usd: float
    ) -> None:
        """Count the tokens and the price of one answer; cached tokens are part of the input tokens."""
        model = self._models.bound(model)
        self._tokens.of(model, "input").inc(input_tokens)
        self._tokens.of(model, "output").inc(output_tokens)
        self._tokens.of(model, "input_cached").inc(cached_tokens)
        self._cost.of(model).inc(cost_usd)

    def _counts(self, name: str, documentation: str, labels: Sequence[str]) -> Counts:
        counts = Counts(name, documentation, labels)
        self.registry.register(counts)
        return counts

    def _distributions(
        self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> Distributions:
        distributions = Distributions(name, documentation, labels, bounds)
        self.registry.register(distributions)
        return distributions

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return body and content type of a scrape; `accept` is the request's Accept header."""
        return render(self.registry, accept)
