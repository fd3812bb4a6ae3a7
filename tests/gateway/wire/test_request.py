from __future__ import annotations

import pytest

from gateway.errors import InvalidRequest
from gateway.wire.request import Endpoint, outgoing, read_request

CHAT = Endpoint.CHAT


def test_only_what_the_gateway_needs_is_read() -> None:
    view = read_request(b'{"model":"m","stream":true,"temperature":"hot","x":[1]}', CHAT)
    assert (view.model, view.stream, view.usage_wanted) == ("m", True, False)


def test_a_field_is_given_back_only_with_the_wanted_type() -> None:
    body = b'{"model":"m","temperature":1,"seed":"x"}'
    view = read_request(body, CHAT)
    assert view.value(body, "temperature", float) == 1.0
    assert view.value(body, "seed", int) is None
    assert view.value(body, "top_p", float) is None


@pytest.mark.parametrize("stream", [b"false", b"null"])
def test_no_stream(stream: bytes) -> None:
    assert not read_request(b'{"model":"m","stream":' + stream + b"}", CHAT).stream


def test_embeddings_never_stream() -> None:
    assert not read_request(b'{"model":"m","stream":true}', Endpoint.EMBEDDINGS).stream


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{}", "model"),
        (b'{"model":""}', "model"),
        (b'{"model":null}', "model"),
        (b'{"model":7}', "model"),
        (b'{"model":"' + b"x" * 513 + b'"}', "model"),
        (b'{"model":"m","stream":"yes"}', "stream"),
        (b'{"model":"m","stream":true,"stream_options":[]}', "stream_options"),
        (b'{"model":"m","stream":true,"stream_options":{"a":1,"a":1}}', "stream_options"),
        (b'{"model":"m","messages":[],"messages":[]}', "messages"),
    ],
)
def test_what_can_not_be_used_is_refused_by_name(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request(body, CHAT)
    assert caught.value.param == param


def test_nothing_to_change_means_the_clients_own_bytes() -> None:
    body = b'{ "model": "m", "stream" : false}'
    assert outgoing(body, read_request(body, CHAT), model="m", usage=True) is body


def test_alias_and_usage_are_spliced_in_together() -> None:
    body = b'{"stream":true, "stream_options":null ,"model":"alias","x":1.50}'
    changed = outgoing(body, read_request(body, CHAT), model="real", usage=True)
    assert changed == b'{"stream":true, "stream_options":{"include_usage":true} ,"model":"real","x":1.50}'
