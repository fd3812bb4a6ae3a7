from __future__ import annotations

import inspect

import orjson
import pytest

from gateway import errors
from gateway.wire.errors import CLIENT_CLOSED, cause_of, error_answer, error_event, kind_of

LEAVES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.GatewayError)
    and not kind.__subclasses__()
    and kind is not errors.ConfigError
    and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_of_the_tree_has_a_row_of_its_own(leaf: type[Exception]) -> None:
    assert kind_of(leaf.__new__(leaf)).code != "internal_error"


def test_what_the_caller_did_is_4xx_and_what_the_upstream_did_is_5xx() -> None:
    # HTTP itself has 504 for a cached answer that was demanded and is not there (RFC 9111, 5.2.1.7).
    for leaf in set(LEAVES) - {errors.NotInCache}:
        status = kind_of(leaf.__new__(leaf)).status
        assert (status < 500) == (issubclass(leaf, errors.RequestError) or status == CLIENT_CLOSED)


def test_an_unexpected_error_tells_nothing() -> None:
    answer = error_answer(ValueError("secret"))
    assert isinstance(answer.body, bytes)
    assert answer.status == 500 and b"secret" not in answer.body
    assert orjson.loads(answer.body)["error"]["type"] == "server_error"


def test_the_body_is_openais_error_object() -> None:
    answer = error_answer(errors.InvalidRequest("No.", param="stream", code="odd"))
    assert isinstance(answer.body, bytes)
    assert orjson.loads(answer.body) == {
        "error": {"message": "No.", "type": "invalid_request_error", "param": "stream", "code": "odd"}
    }


def test_not_ready_says_when_to_come_back() -> None:
    answer = error_answer(errors.UpstreamNotReady("Wait.", retry_after_s=5))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_an_error_event_is_one_event() -> None:
    event = error_event(errors.UpstreamBroke("It broke off."))
    assert event.raw.endswith(b"\n\n") and event.raw.count(b"\n") == 2
    assert event.data is not None
    assert orjson.loads(event.data)["error"]["code"] == "upstream_incomplete"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (errors.ClientDisconnected(), "client_disconnect"),
        (errors.Draining(), "shutdown"),
        (errors.UpstreamBroke(), "upstream_closed"),
        (errors.UpstreamTimeout("Late.", cause="idle_timeout"), "idle_timeout"),
        (errors.HopFailed(), "HopFailed"),
        (KeyError(), "internal_error"),
    ],
)
def test_causes_are_a_few_names(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause
