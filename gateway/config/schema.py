"""What a configuration may hold. Frozen; unknown keys do not exist and have no meaning here."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from backend_engine.protocol import MAX_PRIORITY
from gateway.compression.mode import STAGES, WAYS, Stage, Way

ANY_MODEL = "*"
DEFAULT_MODEL = "smollm2-135m-instruct"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
OPEN_TENANT = "default"
"""The tenant of every request to a gateway that asks for no key."""
TENANT_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""A name that is safe in Redis keys (where it is the hash tag), metric labels and terminals."""

MAX_MEMBERS = 64
"""Tenants of one group: a fresh answer is compared with what each of the others has."""

Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Usd: TypeAlias = Annotated[float, Meta(ge=0)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
TenantName: TypeAlias = Annotated[str, Meta(pattern=TENANT_NAME)]
Streams: TypeAlias = Literal["route-only", "hold", "speculative"]
KeyHash: TypeAlias = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]


class Secret(str):
    """A string that shows itself only to whoever asks with `reveal`."""

    __slots__ = ()

    def reveal(self) -> str:
        """Return the secret."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return "Secret('********')"

    def __str__(self) -> str:
        return "********"

    def __format__(self, spec: str) -> str:
        return "********"


class StoreUrl(Secret):
    """`sqlite://PATH` or a Redis URL. It shows itself, but not the credentials that may stand in it."""

    __slots__ = ()

    def __str__(self) -> str:
        return re.sub(r"^(\w+://)[^/]*@", r"\1********@", self.reveal())


class Server(Struct, frozen=True):
    """The gateway's own socket."""

    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Processes that share the port; one for each core that is to be used."""
    allow_unauthenticated: bool = False
    """Listen beyond this machine although nobody is asked for a key."""
    max_body_mb: Count = 32
    drain_s: Seconds = 30.0
    """How long requests may go on after SIGTERM."""
    drain_delay_s: Annotated[float, Meta(ge=0)] = 0.0
    """How long `/health/ready` says no before the port closes, so that balancers notice."""


class Timeouts(Struct, frozen=True):
    """Seconds that an upstream may take: to connect, to the first byte of its answer, between two bytes."""

    connect: Seconds = 5.0
    first_byte: Seconds = 600.0
    idle: Seconds = 120.0


class EngineUpstream(Struct, frozen=True, tag_field="kind", tag="engine"):
    """The bundled engine as a process of ours. All but `timeouts` are options of `forebay engine`."""

    model: str = DEFAULT_MODEL
    quantization: Literal["auto", "int8", "int4", "none"] = "auto"
    kv_memory_mb: Count = 512
    kv_dtype: Literal["fp16", "int8", "fp32"] = "fp16"
    block_size: Count = 16
    max_batch_tokens: Count = 512
    max_sequences: Count = 64
    max_waiting: Count = 512
    max_context: Count | None = None
    yarn_factor: Annotated[float, Meta(ge=1)] | None = None
    max_output_tokens: Count | None = None
    max_decode_stretch: Annotated[float, Meta(gt=1)] = 2.8
    threads: Annotated[int, Meta(ge=0)] = 0
    prefix_cache: bool = True
    prefix_cache_ram_mb: Annotated[int, Meta(ge=0)] = 0
    prefix_cache_disk: str | None = None
    prefix_cache_disk_mb: Count = 2048
    speculation: Literal["auto", "off", "ngram", "suffix", "draft"] = "auto"
    draft_model: str | None = None
    timeouts: Timeouts = Timeouts()


class OpenAIUpstream(Struct, frozen=True, tag_field="kind", tag="openai"):
    """Any server that speaks OpenAI's protocol."""

    base_url: str = "https://api.openai.com/v1"
    api_key: Secret | None = None
    timeouts: Timeouts = Timeouts()
    max_connections: Count = 256
    stream_usage: bool = True
    """Ask streams for their usage (`stream_options`); switch it off for a server that refuses the field."""


Upstream: TypeAlias = EngineUpstream | OpenAIUpstream


class Price(Struct, frozen=True):
    """US dollars for a million tokens. What has no price of its own costs as much as other input."""

    input: Usd = 0.0
    output: Usd = 0.0
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    batch: Share | None = None
    """What part of all this the provider's batch takes, for the ledger's comparison; requests are sent one
    by one all the same."""


class Capabilities(Struct, frozen=True):
    """What a model can do, as far as a route has to know. What is not said depends on the upstream's kind."""

    tools: bool | None = None
    vision: bool | None = None
    json: bool | None = None
    """`response_format`."""
    logprobs: bool | None = None
    """Token probabilities, which tell how sure it was."""
    prompt_logprobs: bool | None = None
    """vLLM's probabilities of the prompt's own tokens."""


class Model(Struct, frozen=True):
    """A name that clients use and what stands behind it. Without `model` it goes upstream unchanged."""

    upstream: str
    model: str | None = None
    price: Price | None = None
    capabilities: Capabilities = Capabilities()
    context: Count | None = None
    """Tokens that prompt and answer may have together. A bundled engine says so itself; the lower counts."""


class Classifier(Struct, frozen=True):
    """A model that says beforehand whether a question is simple or complex."""

    model: str
    deadline_ms: Annotated[float, Meta(gt=0)] = 1000.0
    """How long a request waits for it."""


class RouteConfig(Struct, frozen=True):
    """A name that stands for one of several models."""

    tiers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)]
    """The models, small ones first. The last one is the measure of the others."""
    policy: str | None = None
    """The file of `forebay route train` that decides between two, once and for all."""
    quality: Annotated[float, Meta(gt=0, le=1)] | None = None
    """The share of the last model's quality that is to be kept; 0.95 if no other knob is set."""
    budget: Annotated[float, Meta(gt=0)] | None = None
    """The mean price of a request, in US dollars."""
    latency: Seconds | None = None
    """The mean time of a request, in seconds."""
    shadow: Share | None = None
    """How often an answer that was kept is compared with the last model's in the background: 0.02 if it is
    not said, and 0 is never."""
    judge: str | None = None
    """A model that says whether two answers agree where nothing simpler can."""
    streams: Streams = "hold"
    """How a stream goes whose answer is judged; `x-forebay-stream` says it for one request."""
    hold_s: Seconds = 30.0
    """How long a stream is held back before the last model is asked."""
    perplexity: bool = False
    """Ask the smallest model how surprising the question is, as one sign of whether it can answer; for routes
    that learn. The model must answer `prompt_logprobs`."""
    classifier: Classifier | None = None
    self_check: bool = False
    """Ask the small model whether its answer is right, where that is not clear."""
    samples: Annotated[int, Meta(ge=1, le=5)] = 1
    """Answers of the small model that are compared with one another, where its answer is not clear."""


class Limits(Struct, frozen=True):
    """What a tenant may take: requests and tokens in any 60 seconds, US dollars in a day of UTC."""

    rpm: Count | None = None
    tpm: Count | None = None
    usd_per_day: Usd | None = None


class Tenant(Struct, frozen=True):
    """A tenant, its key as `forebay keys create --print-only` hashes it, and its limits.

    Without `key_hash` its keys are those of `forebay keys create`.
    """

    name: TenantName
    key_hash: KeyHash | None = None
    limits: Limits = Limits()
    priority: Annotated[int, Meta(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    """Its place in the bundled engine's queue: lower goes first."""


class StateConfig(Struct, frozen=True):
    """Where keys and the accounts of limits live. A file is made when the first of them is."""

    store: StoreUrl = StoreUrl("sqlite://.forebay/state.db")


class SemanticAdmission(Struct, frozen=True):
    """What may answer other questions than its own although it is left out by default."""

    refusals: bool = False
    """Answers in which the model declines."""
    time_bound: bool = False
    """Questions about today, the latest, prices and the like."""
    tools: bool = False
    """Questions to which the model could have answered with a tool call."""


class SemanticConfig(Struct, frozen=True):
    """The semantic tier: answers of questions that mean the same. `semantic: null` switches it off."""

    embedder: str = "minilm-l6"
    """A model's name or path; with `upstream`, the name that the model has there."""
    upstream: str | None = None
    """The upstream whose `/v1/embeddings` embeds, instead of a model on this machine."""
    error_budget: Annotated[float, Meta(gt=0, le=0.5)] = 0.01
    """Largest share of wrong answers among hits, as a 95% upper confidence bound."""
    deadline_ms: Annotated[float, Meta(gt=0)] = 100.0
    """How long a request waits for the semantic process before it goes on as a miss."""
    candidates: Annotated[int, Meta(ge=1, le=32)] = 4
    """Stored questions that are looked at for one request."""
    max_chars: Annotated[int, Meta(ge=1, le=8192)] = 1000
    """Longest question, in characters; longer ones are for the exact tier alone."""
    judge: str | None = None
    """A model that says whether two answers agree where nothing simpler can."""
    admit: SemanticAdmission = SemanticAdmission()
    index_mb: Count = 1024
    """Memory for vectors."""


class SharedCache(Struct, frozen=True):
    """A group of tenants that share answers, each once two of them have got it."""

    name: TenantName
    tenants: Annotated[tuple[TenantName, ...], Meta(min_length=2, max_length=MAX_MEMBERS)]
    models: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    """The models, by their names in requests, whose answers are shared; without it, all."""


class CacheConfig(Struct, frozen=True):
    """The answer cache. `cache: null` switches it off."""

    store: StoreUrl = StoreUrl("sqlite://.forebay/cache.db")
    sampled: Literal["reuse", "off"] = "reuse"
    """Whether a stored answer may serve a request that asks for a sampled one (temperature above 0)."""
    ttl_s: Seconds = 86_400.0
    stale_s: Annotated[float, Meta(ge=0)] = 3_600.0
    """How long after its time an answer may still be served while a new one is fetched in the background."""
    max_entries: Count = 100_000
    max_mb: Count = 1_024
    coalesce: Literal["auto", "process"] = "auto"
    """How far identical requests under way share one call: auto is all gateways and workers over one Redis,
    and with SQLite each process for itself."""
    mode: Literal["serve", "observe"] = "serve"
    """observe: the semantic tier serves nothing, and reports what it would have."""
    semantic: SemanticConfig | None = SemanticConfig()
    shared: tuple[SharedCache, ...] = ()
    """Who shares answers; everybody else's are his own."""


class FitConfig(Struct, frozen=True):
    """What becomes of prompts that are longer than their model's window. `fit: null` switches it off."""

    strategies: Annotated[tuple[Way, ...], Meta(min_length=1)] = WAYS
    """Those that may be used. What suits the question is tried first, then the others in this order."""
    longer: tuple[str, ...] = ()
    """Models of longer windows to which such a prompt may go whole, beside the tiers of its own route."""
    parallel: Annotated[int, Meta(ge=1, le=64)] = 4
    """Calls of its own that a request has under way at once."""
    max_calls: Count = 64
    """Calls of its own that a request may make."""
    deadline_s: Seconds = 120.0
    """How long these calls may take together."""


class ScorerConfig(Struct, frozen=True):
    """A language model that tells how likely the words of a prompt are."""

    model: str
    """One of `models` whose upstream answers `prompt_logprobs`."""


class CompressConfig(Struct, frozen=True):
    """What happens to prompts that do not say by `x-forebay-compress`."""

    mode: str = "lossless"
    """`off`, `lossless`, `auto`, `ratio:N` or `fit`."""
    stages: tuple[Stage, ...] = STAGES
    """Those that may run; the mode says which of them do."""
    deadline_ms: Annotated[float, Meta(gt=0)] = 500.0
    """How long a prompt waits for its passages to be compared with the question, and again for the scorer."""
    fit: FitConfig | None = FitConfig()
    reversible: bool = False
    """Keep what is left out, and let models of callers that use tools ask for it."""
    scorer: ScorerConfig | None = None


class TelemetryConfig(Struct, frozen=True):
    """Traces and logs."""

    otlp_endpoint: str | None = None
    sample: Share = 1.0
    log_level: Literal["debug", "info", "warning", "error"] = "warning"


class Config(Struct, frozen=True):
    """The whole configuration."""

    server: Server = Server()
    upstreams: dict[str, Upstream] = msgspec.field(default_factory=dict)
    models: dict[str, Model] = msgspec.field(default_factory=dict)
    routes: dict[str, RouteConfig] = msgspec.field(default_factory=dict)
    tenants: tuple[Tenant, ...] = ()
    state: StateConfig = StateConfig()
    cache: CacheConfig | None = CacheConfig()
    compress: CompressConfig = CompressConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
