from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.members import members
from gateway.wire.splice import ask_for_usage, set_value, splice, without_member

BODY = b'{ "messages" : [{"model":"not this"}],\n  "model" :  "alias" , "temperature":1.0}'


def test_only_the_models_value_changes() -> None:
    changed = splice(BODY, [set_value(members(BODY), "model", 'real "m"\n')])
    assert changed == BODY.replace(b'"alias"', b'"real \\"m\\"\\n"')


def test_no_edit_is_the_same_object() -> None:
    assert splice(BODY, []) is BODY


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", b',"stream_options":{"include_usage":true}'),
        (b"null", b'{"include_usage":true}'),
        (b"{}", b'{"include_usage":true}'),
        (b"{ }", b'{"include_usage":true }'),
        (b'{"include_usage": false }', b'{"include_usage": true }'),
        (b'{"include_usage":null}', b'{"include_usage":true}'),
        (b'{"include_obfuscation":false}', b'{"include_usage":true,"include_obfuscation":false}'),
    ],
)
def test_usage_is_asked_for_in_place(options: bytes, expected: bytes) -> None:
    given = b', "stream_options": ' + options if options else b""
    body = b'{"model":"m","stream":true' + given + b" }\n"
    edit = ask_for_usage(body, members(body))
    assert edit is not None
    wanted = b', "stream_options": ' + expected if options else expected
    assert splice(body, [edit]) == b'{"model":"m","stream":true' + wanted + b" }\n"


def test_a_client_that_asks_himself_is_left_alone() -> None:
    body = b'{"stream_options":{"include_usage":true}}'
    assert ask_for_usage(body, members(body)) is None


keys = st.sampled_from(["usage", "a", "b", "c"])


@given(st.dictionaries(keys, st.integers() | st.text() | st.none(), min_size=1), st.sampled_from([None, 1]))
def test_a_member_is_cut_out_and_the_rest_stays(obj: dict[str, object], indent: int | None) -> None:
    body = json.dumps(obj, indent=indent).encode()
    cut = without_member(body, "usage")
    assert json.loads(cut) == {key: value for key, value in obj.items() if key != "usage"}
    if "usage" not in obj:
        assert cut == body
