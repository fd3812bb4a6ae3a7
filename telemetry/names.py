"""Every name that Forebay puts on a span: the one place to change when a convention moves.

`gen_ai.*` follows open-telemetry/semantic-conventions-genai as of November 2026, after the GenAI pages had
left the main repository (v1.44 there holds stubs); all of it is still marked Development. `http.*`,
`server.*` and `error.*` are the stable conventions. There is no convention yet for a gateway or an engine,
so those have `forebay.*`.

`gen_ai.usage.*` stands on the `chat MODEL` client span and nowhere else: a backend that sums tokens over
spans would count them twice otherwise.
"""

from __future__ import annotations

from typing import Final

# Span names. HTTP server spans are `{method} {route}` (`http_span`), client spans `{operation} {model}`.
QUEUE: Final = "queue"
PREFILL: Final = "prefill"
DECODE: Final = "decode"
CACHE_EXACT: Final = "cache.exact"
CACHE_SEMANTIC: Final = "cache.semantic"
COMPRESS: Final = "compress"
FIT: Final = "fit"
RETRIEVE: Final = "retrieve"
COMPRESS_SCORE: Final = "compress.score"
ROUTE: Final = "route"
ROUTE_SHADOW: Final = "route.shadow"

# gen_ai.operation.name
CHAT: Final = "chat"
TEXT_COMPLETION: Final = "text_completion"
EMBEDDINGS: Final = "embeddings"


def http_span(method: str, route: str) -> str:
    """Return the name of an HTTP server span; `route` is the template, never the raw path."""
    return f"{method} {route}"


def operation_span(operation: str, model: str) -> str:
    """Return the name of a model call's client span, such as `chat smollm2`."""
    return f"{operation} {model}"


# GenAI
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

# gen_ai.provider.name: well-known values, and ours for what has none.
PROVIDER_OPENAI: Final = "openai"
PROVIDER_FOREBAY: Final = "forebay"

# HTTP and network
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_BODY_SIZE: Final = "http.request.body.size"
HTTP_ROUTE: Final = "http.route"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
URL_PATH: Final = "url.path"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# error.type. For an HTTP error it is the status code as text, for an exception of ours its class name; these
# are the causes that have neither. A client that leaves is marked so that it can be told from a failure.
ERROR_TYPE: Final = "error.type"
CLIENT_DISCONNECT: Final = "client_disconnect"
CONNECT_ERROR: Final = "connect_error"
CONNECT_TIMEOUT: Final = "connect_timeout"
FIRST_BYTE_TIMEOUT: Final = "first_byte_timeout"
IDLE_TIMEOUT: Final = "idle_timeout"
GIVEN_UP: Final = "given_up"
"""The gateway waited no longer, although the upstream had time left."""
UPSTREAM_CLOSED: Final = "upstream_closed"
INVALID_RESPONSE: Final = "invalid_response"
SHUTDOWN: Final = "shutdown"
INTERNAL_ERROR: Final = "internal_error"

# Ours: gateway
FOREBAY_REQUEST_ID: Final = "forebay.request.id"
FOREBAY_TENANT: Final = "forebay.tenant"
FOREBAY_ROUTE: Final = "forebay.route"
FOREBAY_ROUTE_REASON: Final = "forebay.route.reason"
FOREBAY_UPSTREAM: Final = "forebay.upstream"
FOREBAY_ATTEMPTS: Final = "forebay.attempts"
FOREBAY_COST_USD: Final = "forebay.cost.usd"
FOREBAY_OVERHEAD_MS: Final = "forebay.overhead.ms"
FOREBAY_LIMIT: Final = "forebay.limit"
"""What ran out when a request was refused: `requests`, `tokens` or `usd`."""
FOREBAY_HOP_SKIPPED: Final = "forebay.hop.skipped"
"""Event: a hop failed or ran past its deadline and stepped aside."""

FOREBAY_CACHE_VERDICT: Final = "forebay.cache.verdict"
"""The value of `x-forebay-cache`."""
FOREBAY_CACHE_AGE: Final = "forebay.cache.age_s"
FOREBAY_CACHE_SHARING: Final = "forebay.cache.sharing"
"""Of an answer in a shared scope: `confirmed` if it is the group's, `quarantined` if it is a tenant's own."""
FOREBAY_CACHE_REASON: Final = "forebay.cache.reason"
"""One word: why a request has no key, or why its answer was not stored."""

FOREBAY_SEMANTIC_REASON: Final = "forebay.semantic.reason"
"""One word or two: what the semantic tier decided, or why it was not asked."""
FOREBAY_SEMANTIC_ACTION: Final = "forebay.semantic.action"
"""`serve`, `would_serve` (mode observe), `explore` or `miss`."""
FOREBAY_SEMANTIC_SIMILARITY: Final = "forebay.semantic.similarity"
FOREBAY_SEMANTIC_PROBABILITY: Final = "forebay.semantic.probability"
FOREBAY_SEMANTIC_BOUND: Final = "forebay.semantic.bound"
"""Upper bound of the probability that the stored answer is wrong."""
FOREBAY_SEMANTIC_GATES: Final = "forebay.semantic.gates"
"""One text for each candidate and gate, such as `0 numbers passed`; the nearest candidate is 0."""
FOREBAY_SEMANTIC_VERIFIER: Final = "forebay.semantic.verifier"
"""Log-odds of "same question" for each candidate that the verifier was asked about."""
FOREBAY_SEMANTIC_STEPS: Final = "forebay.semantic.steps"
"""Where the time went in milliseconds, such as `embed 1.4`: first the wait for the semantic process, then its
own steps, which are within it."""
FOREBAY_SEMANTIC_SAVED_USD: Final = "forebay.semantic.saved_usd"

FOREBAY_COMPRESS_MODE: Final = "forebay.compress.mode"
"""The mode that took effect."""
FOREBAY_COMPRESS_TOKENS_BEFORE: Final = "forebay.compress.tokens_before"
"""Of the messages; an estimate of four bytes a token, as the next one."""
FOREBAY_COMPRESS_TOKENS_AFTER: Final = "forebay.compress.tokens_after"
FOREBAY_COMPRESS_RATIO: Final = "forebay.compress.ratio"
FOREBAY_COMPRESS_STAGES: Final = "forebay.compress.stages"
"""One text for each stage that saved something, such as `json 120`: tokens."""
FOREBAY_COMPRESS_RANKED: Final = "forebay.compress.ranked"
"""An embedder took part; otherwise words alone decided."""
FOREBAY_COMPRESS_SCORER: Final = "forebay.compress.scorer"
"""The model that told how likely words are, by its name in the config."""
FOREBAY_COMPRESS_SCORER_MS: Final = "forebay.compress.scorer_ms"
"""How long it was waited for."""
FOREBAY_COMPRESS_SCORER_TEXTS: Final = "forebay.compress.scorer.texts"
FOREBAY_COMPRESS_SCORER_TOKENS: Final = "forebay.compress.scorer.tokens"
"""What it read in one call; as it says, or an estimate if it was late."""
FOREBAY_RETRIEVE_OUTCOMES: Final = "forebay.retrieve.outcomes"
"""What became of each call of a model for text that was left out: `found`, `missing` and so on."""

# What saved money or time, or cost it: labels of the metrics, members of records, names in the store.
SAVED_EXACT: Final = "exact"
SAVED_SEMANTIC: Final = "semantic"
SAVED_COALESCED: Final = "coalesced"
SAVED_PREFIX: Final = "prefix"
SAVED_COMPRESSION: Final = "compression"
SAVED_CASCADE: Final = "cascade"
SAVED_ESCALATION: Final = "escalation"
"""Calls beside the one whose answer counts: never above zero, as the next two."""
SAVED_SUBREQUESTS: Final = "subrequests"
SAVED_REFRESH: Final = "refresh"

FOREBAY_FIT_STRATEGY: Final = "forebay.fit.strategy"
"""What made a prompt fit that was longer than the window: one way, or several joined by `+`."""
FOREBAY_FIT_WINDOW: Final = "forebay.fit.window"
"""Tokens that prompt and answer may have together, in the model that answers."""
FOREBAY_FIT_TOKENS_BEFORE: Final = "forebay.fit.tokens_before"
FOREBAY_FIT_TOKENS_AFTER: Final = "forebay.fit.tokens_after"
FOREBAY_FIT_EXACT: Final = "forebay.fit.exact"
"""The tokens were counted by the upstream; otherwise they are estimates."""
FOREBAY_FIT_WINDOWS: Final = "forebay.fit.windows"
"""Parts in which a model read what did not fit."""
FOREBAY_FIT_LEFT_OUT: Final = "forebay.fit.left_out"
"""Messages that were left out."""
FOREBAY_FIT_CALLS: Final = "forebay.fit.calls"

# Ours: engine
FOREBAY_ENGINE_PROMPT_TOKENS: Final = "forebay.engine.prompt_tokens"
FOREBAY_ENGINE_CACHED_TOKENS: Final = "forebay.engine.cached_tokens"
FOREBAY_ENGINE_GENERATED_TOKENS: Final = "forebay.engine.generated_tokens"
FOREBAY_ENGINE_PREFILL_CHUNKS: Final = "forebay.engine.prefill_chunks"
FOREBAY_ENGINE_PREEMPTIONS: Final = "forebay.engine.preemptions"
FOREBAY_ENGINE_FINISH_REASON: Final = "forebay.engine.finish_reason"
FOREBAY_ENGINE_SEQUENCE: Final = "forebay.engine.sequence"
"""Which of the `n` choices a phase belongs to."""

# Resource
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"

# Metrics. prometheus-client adds `_total` to counters.
M_REQUESTS: Final = "forebay_requests"
M_REQUEST_DURATION: Final = "forebay_request_duration_seconds"
M_OVERHEAD: Final = "forebay_overhead_seconds"
M_TIME_TO_FIRST_BYTE: Final = "forebay_time_to_first_byte_seconds"
M_UPSTREAM_ERRORS: Final = "forebay_upstream_errors"
M_TOKENS: Final = "forebay_tokens"
M_COST: Final = "forebay_cost_usd"
M_LIMIT_REJECTIONS: Final = "forebay_limit_rejections"
M_STATE_ERRORS: Final = "forebay_state_errors"
M_IN_FLIGHT: Final = "forebay_requests_in_flight"
M_SPANS_DROPPED: Final = "forebay_trace_spans_dropped"
M_CACHE_REQUESTS: Final = "forebay_cache_requests"
M_CACHE_STORE_EVENTS: Final = "forebay_cache_store_events"
M_CACHE_ADMISSIONS: Final = "forebay_cache_admissions"
M_CACHE_FLIGHTS: Final = "forebay_cache_flights"
M_CACHE_CONFIRMATIONS: Final = "forebay_cache_confirmations"

M_SEMANTIC_CALLS: Final = "forebay_semantic_calls"
M_SEMANTIC_DECISIONS: Final = "forebay_semantic_decisions"
M_SEMANTIC_ADMISSIONS: Final = "forebay_semantic_admissions"
M_SEMANTIC_LABELS: Final = "forebay_semantic_labels"
M_SEMANTIC_SAVED: Final = "forebay_semantic_saved_usd"
M_SEMANTIC_DURATION: Final = "forebay_semantic_duration_seconds"
M_SEMANTIC_RESTARTS: Final = "forebay_semantic_restarts"

M_ROUTE_ANSWERS: Final = "forebay_route_answers"
M_ROUTE_OUTCOMES: Final = "forebay_route_outcomes"
M_ROUTE_REGRET: Final = "forebay_route_regret"
M_ROUTE_SHADOW_COST: Final = "forebay_route_shadow_cost_usd"
M_ROUTE_DRIFT: Final = "forebay_route_drift"
M_COMPRESS_REQUESTS: Final = "forebay_compress_requests"
M_COMPRESS_TOKENS: Final = "forebay_compress_tokens"
M_COMPRESS_SAVED: Final = "forebay_compress_saved_tokens"
M_COMPRESS_DURATION: Final = "forebay_compress_duration_seconds"
M_COMPRESS_RETRIEVALS: Final = "forebay_compress_retrievals"

M_SAVINGS_USD: Final = "forebay_savings_usd"
M_SAVINGS_ADDED_USD: Final = "forebay_savings_added_usd"
M_SAVINGS_SECONDS: Final = "forebay_savings_seconds"
M_SAVINGS_ADDED_SECONDS: Final = "forebay_savings_added_seconds"
M_SAVINGS_REQUESTS: Final = "forebay_savings_requests"
M_FIT: Final = "forebay_fit"
M_FIT_CALLS: Final = "forebay_fit_calls"
M_FIT_DURATION: Final = "forebay_fit_duration_seconds"
M_COMPRESS_SCORER_CALLS: Final = "forebay_compress_scorer_calls"
M_COMPRESS_SCORER_DURATION: Final = "forebay_compress_scorer_duration_seconds"

# The engine's have vLLM's suffixes, so that its dashboards need one substitution.
M_WORKERS: Final = "forebay_workers"
M_WORKER_RESTARTS: Final = "forebay_worker_restarts"
M_CONFIG_RELOADS: Final = "forebay_config_reloads"
M_ENGINE_RUNNING: Final = "forebay_engine_num_requests_running"
M_ENGINE_WAITING: Final = "forebay_engine_num_requests_waiting"
M_ENGINE_KV_USAGE: Final = "forebay_engine_kv_cache_usage_perc"
M_ENGINE_PREFIX_QUERIES: Final = "forebay_engine_prefix_cache_queries"
M_ENGINE_PREFIX_HITS: Final = "forebay_engine_prefix_cache_hits"
M_ENGINE_PROMPT_TOKENS: Final = "forebay_engine_prompt_tokens"
M_ENGINE_GENERATION_TOKENS: Final = "forebay_engine_generation_tokens"
M_ENGINE_SUCCESS: Final = "forebay_engine_request_success"
M_ENGINE_PREEMPTIONS: Final = "forebay_engine_num_preemptions"
M_ENGINE_TTFT: Final = "forebay_engine_time_to_first_token_seconds"
M_ENGINE_ITL: Final = "forebay_engine_inter_token_latency_seconds"
M_ENGINE_E2E: Final = "forebay_engine_e2e_request_latency_seconds"
M_ENGINE_QUEUE_TIME: Final = "forebay_engine_request_queue_time_seconds"
M_ENGINE_PREFILL_TIME: Final = "forebay_engine_request_prefill_time_seconds"
M_ENGINE_DECODE_TIME: Final = "forebay_engine_request_decode_time_seconds"
M_ENGINE_REQUEST_PROMPT_TOKENS: Final = "forebay_engine_request_prompt_tokens"
M_ENGINE_REQUEST_GENERATION_TOKENS: Final = "forebay_engine_request_generation_tokens"
M_ENGINE_DRAFTS: Final = "forebay_engine_spec_decode_num_drafts"
M_ENGINE_DRAFT_TOKENS: Final = "forebay_engine_spec_decode_num_draft_tokens"
M_ENGINE_ACCEPTED_TOKENS: Final = "forebay_engine_spec_decode_num_accepted_tokens"
M_ENGINE_ACCEPTED_PER_POS: Final = "forebay_engine_spec_decode_num_accepted_tokens_per_pos"
M_ENGINE_ITERATION_TOKENS: Final = "forebay_engine_iteration_tokens_total"
M_ENGINE_SPANS_DROPPED: Final = "forebay_engine_trace_spans_dropped"
