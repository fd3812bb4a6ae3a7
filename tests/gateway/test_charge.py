"""What a request is charged, by how its calls ended."""

from __future__ import annotations

import pytest

from gateway.charge import charge_of
from gateway.config.schema import Model, Price
from gateway.exchange import Call, Exchange, Scoring
from gateway.state.ledger.base import Used
from gateway.window.outcome import Fitted
from gateway.wire.request import Endpoint
from gateway.wire.usage import Usage
from telemetry import names

PROMPT = 100


async def receive(limit: int) -> bytes:
    return b""


def call(
    status: int | None, error: str | None = None, *, usage: Usage | None = None, counted: int = 0
) -> Call:
    made = Call("up", "m", Model("up", price=Price(input=1, output=2)), ended_s=1.0)
    made.status, made.error = status, error
    made.outcome.usage, made.outcome.counted = usage, counted
    return made


def charge(*calls: Call) -> Used:
    return charge_of(Exchange(Endpoint.CHAT, {}, receive, calls=list(calls)), PROMPT)


def used(tokens_in: int, tokens_out: int) -> Used:
    return Used(1, tokens_in + tokens_out, 1000 * tokens_in + 2000 * tokens_out)


@pytest.mark.parametrize("error", [names.CONNECT_ERROR, names.CONNECT_TIMEOUT, "not_ready"])
def test_what_was_never_sent_is_free(error: str) -> None:
    assert charge(call(None, error)) == Used()
    assert charge() == Used()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "400"),
        (500, "500"),
        (None, "401"),
        (None, names.INVALID_RESPONSE),
        (None, names.UPSTREAM_CLOSED),
    ],
)
def test_an_error_is_charged_as_a_request(status: int | None, error: str) -> None:
    assert charge(call(status, error)) == Used(1)


@pytest.mark.parametrize(
    "error", [names.CLIENT_DISCONNECT, names.FIRST_BYTE_TIMEOUT, names.IDLE_TIMEOUT, names.SHUTDOWN]
)
def test_an_upstream_left_at_work_has_read_the_prompt(error: str) -> None:
    assert charge(call(None, error)) == used(PROMPT, 0)
    assert charge(call(200, error, counted=7)) == used(PROMPT, 7)


def test_a_call_that_goes_on_for_others_has_read_the_prompt() -> None:
    running = call(None)
    running.ended_s = None
    assert charge(running) == used(PROMPT, 0)


def test_the_upstreams_count_goes_first() -> None:
    assert charge(call(200, usage=Usage(11, 3), counted=50)) == used(11, 3)
    assert charge(call(200, names.UPSTREAM_CLOSED, usage=Usage(11, 3), counted=50)) == used(11, 3)


def test_without_its_count_ours_is_taken() -> None:
    assert charge(call(200, counted=50)) == used(PROMPT, 50)
    assert charge(call(200, names.UPSTREAM_CLOSED, counted=50)) == used(PROMPT, 50)


@pytest.mark.parametrize(("shorter", "charged"), [(True, 40), (False, PROMPT)])
def test_a_prompt_that_was_made_to_fit_is_charged_as_it_was_sent(shorter: bool, charged: int) -> None:
    made = call(200, names.CLIENT_DISCONNECT, counted=7)
    made.fitted = Fitted("turns", "m", 50, PROMPT, 40, False, 0, 4, 0, 0.1, shorter)
    assert charge(made) == used(charged, 7)


def test_all_calls_of_a_request_are_added_up() -> None:
    calls = (call(None, names.CONNECT_ERROR), call(500, "500"), call(200, usage=Usage(11, 3)))
    assert charge(*calls) == used(11, 3)
    assert charge(call(200, usage=Usage(1, 1)), call(200, usage=Usage(10, 2))) == used(11, 3)


def test_a_model_that_scored_the_prompt_is_charged_with_it() -> None:
    ex = Exchange(Endpoint.CHAT, {}, receive, calls=[call(200, usage=Usage(10, 5))])
    scorer = Model("up", price=Price(input=1, output=2))
    ex.scorings = [Scoring("small", scorer, Usage(200, 2), 0.1), Scoring("small", Model("up"), Usage(7), 0.1)]
    assert charge_of(ex, PROMPT) == Used(1, 15 + 202 + 7, used(10, 5).nano_usd + used(200, 2).nano_usd)


def test_no_report_of_an_upstream_overflows_or_pays_back() -> None:
    assert charge(call(200, usage=Usage(10**30, 0))) == Used(1, 10**12, 10**12)
    assert charge(call(200, usage=Usage(-5, -5))) == Used(1, 0, 0)
