"""The gateway's headers are read strictly: nothing malformed is taken for nothing."""

from __future__ import annotations

import time

import pytest

from backend_engine.errors import InvalidRequest
from backend_engine.server.caller import Caller


def test_headers_are_optional() -> None:
    assert Caller.of({}) == Caller(salt="", priority=None, deadline=None)


def test_a_deadline_counts_from_now() -> None:
    caller = Caller.of({"x-forebay-deadline-ms": "2500", "x-forebay-priority": "-3", "x-forebay-salt": "t"})
    assert (caller.salt, caller.priority) == ("t", -3)
    assert caller.deadline is not None
    assert 2.0 < caller.deadline - time.monotonic() <= 2.5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-forebay-salt", "s" * 257),
        ("x-forebay-priority", "high"),
        ("x-forebay-priority", "101"),
        ("x-forebay-deadline-ms", ""),
        ("x-forebay-deadline-ms", "0"),
        ("x-forebay-deadline-ms", "1e3"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=name) as caught:
        Caller.of({name: value})
    assert caught.value.param == name
