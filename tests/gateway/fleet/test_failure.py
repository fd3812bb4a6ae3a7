"""A failed call looks the same to the clients of all gateways."""

from __future__ import annotations

import pytest

from gateway import errors
from gateway.fleet.failure import raised, told
from gateway.fleet.messages import decode, encode
from gateway.wire.errors import cause_of, error_answer
from telemetry import names

FAILURES = [
    errors.UpstreamUnreachable("no", cause=names.CONNECT_TIMEOUT),
    errors.UpstreamTimeout("late", cause=names.FIRST_BYTE_TIMEOUT),
    errors.UpstreamNotReady("starting", retry_after_s=7),
    errors.UpstreamGarbage("not JSON"),
    errors.UpstreamRefusedUs("our key"),
    errors.UpstreamBroke("cut"),
    errors.HopFailed("a hop"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_an_error_travels(error: errors.GatewayError) -> None:
    (failing,) = decode(encode([told(error, 2)]))
    again = raised(failing)
    assert type(again) is type(error)
    assert cause_of(again) == cause_of(error)
    assert error_answer(again) == error_answer(error)


def test_what_an_unexpected_error_says_stays_where_it_was() -> None:
    failing = told(KeyError("a secret"), 1)
    assert "secret" not in failing.message
    assert isinstance(raised(failing), errors.HopFailed)
