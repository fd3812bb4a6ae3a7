from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.members import MAX_MEMBERS, DuplicateKey, NotAnObject, members

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=8)
spaces = st.sampled_from(["", " ", "\n", "\r\n\t "])


def written(obj: dict[str, Any], space: str, ascii_only: bool) -> bytes:
    pairs = [
        f"{space}{json.dumps(key, ensure_ascii=ascii_only)}{space}:{space}"
        f"{json.dumps(value, ensure_ascii=ascii_only, indent=len(space) or None)}{space}"
        for key, value in obj.items()
    ]
    return (space + "{" + (",".join(pairs) or space) + "}" + space).encode("utf-8", "surrogatepass")


@given(objects, spaces, st.booleans())
def test_every_value_is_found_where_it_stands(obj: dict[str, Any], space: str, ascii_only: bool) -> None:
    body = written(obj, space, ascii_only)
    found = members(body)
    assert list(found) == list(obj)
    for key, span in found.items():
        assert json.loads(body[span.start : span.end]) == obj[key]
        assert json.JSONDecoder().raw_decode(body[span.key_start :].decode())[0] == key


@given(objects.filter(bool), values, st.data())
def test_a_key_given_twice_is_noticed(obj: dict[str, Any], value: Any, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(list(obj)))
    place = data.draw(st.integers(0, len(obj)))
    pairs = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in obj.items()]
    pairs.insert(place, f"{json.dumps(key)}:{json.dumps(value)}")
    with pytest.raises(DuplicateKey):
        members(("{" + ",".join(pairs) + "}").encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"a"}',
        b'{"model":"a","mod\\u0065l":"b"}',
        b'{"n":1,"n":11}',
        b'{"n":11,"x":0,"n":1}',
    ],
)
def test_duplicates_are_named_whatever_their_spelling(body: bytes) -> None:
    with pytest.raises(DuplicateKey) as caught:
        members(body)
    assert caught.value.key in ("model", "n")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"{}"',
        b"{",
        b"{} {}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1,}',
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        b'{"a":"\x01"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(NotAnObject):
        members(body)


def test_a_nesting_bomb_is_refused_at_once() -> None:
    with pytest.raises(NotAnObject, match="deeply"):
        members(b'{"a":' + b"[" * 5_000_000)


def test_too_many_members_are_refused() -> None:
    body = json.dumps({f"k{i}": i for i in range(MAX_MEMBERS + 1)}).encode()
    with pytest.raises(NotAnObject, match="members"):
        members(body)


def test_messages_quote_no_content() -> None:
    with pytest.raises(NotAnObject) as caught:
        members(b'{"messages": "my secret" nonsense}')
    assert "secret" not in str(caught.value)
