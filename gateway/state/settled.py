"""The last requests that were settled: what each took, cost and came to. Never its content."""

from __future__ import annotations

import msgspec

from semantic_cache.fair_memory import FairMemory

CAPACITY = 2048


class SettledUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens over all calls of a request; cached ones are part of the input."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int


class SettledCharge(msgspec.Struct, frozen=True, gc=False):
    """What counts towards the limits of the tenant; where the upstream did not count, we did."""

    requests: int
    tokens: int
    usd: float


class SettledCompression(msgspec.Struct, frozen=True, gc=False):
    """What became of the prompt. Tokens are estimates, of the messages alone."""

    mode: str
    tokens_before: int
    tokens_after: int
    ratio: float
    stages: dict[str, int]
    ranked: bool
    scorer: str | None
    """The model that told likelihoods, and how long it was waited for."""
    scorer_ms: float
    ms: float
    retrieved: int = 0
    """How often the model asked for what was left out."""


class SettledFit(msgspec.Struct, frozen=True, gc=False):
    """How a prompt that was longer than the window came to fit. Tokens are of the whole prompt."""

    strategy: str
    model: str
    window: int
    tokens_before: int
    tokens_after: int
    exact: bool
    windows: int
    left_out: int
    calls: int
    ms: float


class SettledCall(msgspec.Struct, frozen=True, gc=False):
    """One call of an upstream."""

    upstream: str
    model: str
    status: int | None
    error: str | None
    finish_reasons: list[str]
    ms: float


class SettledSavings(msgspec.Struct, frozen=True, gc=False):
    """What the answer would have cost without Forebay and what it cost: the difference is that of the layers,
    which are below zero where they cost more than they saved."""

    direct_usd: float
    actual_usd: float
    batch_usd: float
    """What it would have cost without Forebay in the provider's batch, if that has a price of its own."""
    layers: dict[str, float]
    """US dollars."""
    estimated_s: dict[str, float]
    """Seconds that each layer saved, from what the models were seen to take for so many tokens."""


class Timings(msgspec.Struct, frozen=True, gc=False):
    """Milliseconds; `overhead` is what was not waiting for the client's body or an upstream."""

    total: float
    first_byte: float | None
    upstream: float
    overhead: float


class SettledAnswer(msgspec.Struct, frozen=True, gc=False):
    """Which stored answer a request got or left behind; digests, in hexadecimal."""

    question: str
    """The request's own key."""
    entry: str
    """The key of the answer, which is another one for a semantic hit."""
    similarity: float | None = None
    ticket: int = 0
    holder: str = ""
    """Who has the answer: the tenant, or its group (`@NAME`)."""
    group: str = ""
    """The group that the request shares with."""


class SettledRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request, as `GET /forebay/requests/{id}` and the report of a stream show it."""

    id: str
    object: str = "forebay.request"
    created: int
    endpoint: str
    tenant: str
    model: str
    route: str | None
    route_reason: str | None = None
    """Why, if there was something to decide."""
    stream: bool
    status: int | None
    error: str | None
    cache: str | None = None
    """What `x-forebay-cache` said, or would say had the request come that far."""
    stored: SettledAnswer | None = None
    attempts: int
    usage: SettledUsage | None
    cost_usd: float | None
    charged: SettledCharge | None = None
    compression: SettledCompression | None = None
    savings: SettledSavings | None = None
    """None if a price or the number of tokens is not known."""
    fit: SettledFit | None = None
    timings_ms: Timings
    calls: list[SettledCall]
    trace_id: str | None


class SettledRequests:
    """A bounded record that tenants share fairly."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._requests: FairMemory[str, SettledRequest] = FairMemory(capacity)

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: SettledRequest) -> None:
        """Remember a request."""
        self._requests.put(request.tenant, request.id, request)

    def get(self, request_id: str) -> SettledRequest | None:
        """Return a request that is still remembered."""
        return self._requests.get(request_id)
