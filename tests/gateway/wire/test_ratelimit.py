from __future__ import annotations

import pytest

from gateway.errors import MoneyLimit, RequestLimit, TokenLimit
from gateway.state.ledger.base import NANO, Kind, Level, Refusal, Standing
from gateway.wire.errors import error_headers
from gateway.wire.ratelimit import duration, limit_error, limit_headers

NOTHING = Standing(None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.703, "59.703s"),
        (60, "1m0s"),
        (90.9511, "1m30.952s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86399.5, "23h59m59.5s"),
    ],
)
def test_times_look_like_openais(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_only_limited_rates_have_headers() -> None:
    assert limit_headers(NOTHING) == {}
    assert limit_headers(Standing(Level(60, 59, 61.0), None)) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1m1s",
    }


@pytest.mark.parametrize(
    ("refusal", "error", "message", "headers"),
    [
        (
            Refusal(Kind.REQUESTS, 0.0101, NOTHING, 5, 5, 1),
            RequestLimit,
            "Rate limit reached for 't' on requests per min (RPM): Limit 5, Used 5, Requested 1. "
            "Please try again in 11ms.",
            {"retry-after": "1", "retry-after-ms": "11"},
        ),
        (
            Refusal(Kind.TOKENS, None, NOTHING, 100, 0, 101),
            TokenLimit,
            "Request too large for 't' on tokens per min (TPM): Limit 100, Used 0, Requested 101. "
            "It can never be let through.",
            {"x-should-retry": "false"},
        ),
        (
            Refusal(Kind.USD, 7200.0, NOTHING, 5 * NANO, NANO // 2, 1234),
            MoneyLimit,
            "You exceeded the budget of 't' on US dollars per day (USD): Limit 5, Used 0.5, "
            "Requested 0.000001. It is renewed at 00:00 UTC.",
            {"retry-after": "7200", "retry-after-ms": "7200000", "x-should-retry": "false"},
        ),
    ],
)
def test_a_refusal_says_what_when_and_whether(
    refusal: Refusal, error: type[Exception], message: str, headers: dict[str, str]
) -> None:
    raised = limit_error(refusal, "t")
    assert type(raised) is error and str(raised) == message
    assert error_headers(raised) == {"content-type": "application/json", **headers}
