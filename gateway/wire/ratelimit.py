"""OpenAI's headers and messages about limits."""

from __future__ import annotations

from gateway.errors import LimitExceeded, MoneyLimit, RequestLimit, TokenLimit
from gateway.state.ledger.base import NANO, Kind, Refusal, Standing

_ERRORS: dict[Kind, tuple[type[LimitExceeded], str]] = {
    Kind.REQUESTS: (RequestLimit, "requests per min (RPM)"),
    Kind.TOKENS: (TokenLimit, "tokens per min (TPM)"),
    Kind.USD: (MoneyLimit, "US dollars per day (USD)"),
}


def limit_headers(standing: Standing) -> dict[str, str]:
    """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` for the rates that are limited."""
    headers: dict[str, str] = {}
    requests, tokens = standing.requests, standing.tokens
    reset = ""
    if requests is not None:
        reset = duration(requests.reset_s)
        headers["x-ratelimit-limit-requests"] = str(requests.limit)
        headers["x-ratelimit-remaining-requests"] = str(requests.remaining)
        headers["x-ratelimit-reset-requests"] = reset
    if tokens is not None:
        # The last request of most tenants took tokens too.
        if requests is None or tokens.reset_s != requests.reset_s:
            reset = duration(tokens.reset_s)
        headers["x-ratelimit-limit-tokens"] = str(tokens.limit)
        headers["x-ratelimit-remaining-tokens"] = str(tokens.remaining)
        headers["x-ratelimit-reset-tokens"] = reset
    return headers


def limit_error(refusal: Refusal, tenant: str) -> LimitExceeded:
    """Return the error of a refused request."""
    error, name = _ERRORS[refusal.kind]
    show = _usd if refusal.kind is Kind.USD else str
    numbers = f"Limit {show(refusal.limit)}, Used {show(refusal.used)}, Requested {show(refusal.asked)}"
    if refusal.retry_after_s is None:
        message = f"Request too large for '{tenant}' on {name}: {numbers}. It can never be let through."
    elif refusal.kind is Kind.USD:
        message = f"You exceeded the budget of '{tenant}' on {name}: {numbers}. It is renewed at 00:00 UTC."
    else:
        wait = duration(refusal.retry_after_s)
        message = f"Rate limit reached for '{tenant}' on {name}: {numbers}. Please try again in {wait}."
    return error(message, retry_after_s=refusal.retry_after_s)


def duration(seconds: float) -> str:
    """Return a time as OpenAI writes it: `6m0s`, `1.5s`, `120ms`. Rounded up to whole milliseconds."""
    ms = -int(-seconds * 1000 // 1)
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{ms / 1000:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _usd(nano: int) -> str:
    return f"{nano / NANO:.6f}".rstrip("0").rstrip(".")
