"""Folded JSON has the content that it had, token for token."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compression.json_fold import NotAnObject, fold, minify

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
RECORDS = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.tuples(*[SCALARS] * width).map(lambda row: dict(zip("abcd", row, strict=False))),
        min_size=3,
        max_size=9,
    )
)
VALUES = st.recursive(
    SCALARS | RECORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def unfolded(value: Any) -> Any:
    """What a reader makes of it: a table is its rows."""
    if isinstance(value, dict) and list(value) == ["columns", "rows"]:
        return [dict(zip(value["columns"], map(unfolded, row), strict=True)) for row in value["rows"]]
    if isinstance(value, dict):
        return {key: unfolded(inner) for key, inner in value.items()}
    return [unfolded(inner) for inner in value] if isinstance(value, list) else value


@given(VALUES, st.sampled_from([None, 1, 4]), st.booleans())
def test_folding_loses_nothing(value: Any, indent: int | None, escape: bool) -> None:
    written = json.dumps(value, indent=indent, ensure_ascii=escape)
    folded = (
        fold(written.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        if _clean(written)
        else ""
    )
    if folded:
        assert unfolded(json.loads(folded)) == value and len(folded) <= len(written)


def _clean(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def test_records_become_a_table() -> None:
    rows = [{"id": 7, "name": "a"}, {"id": 8, "name": "b"}, {"id": 9, "name": "c"}, {"id": 10, "name": ""}]
    table = b'{"items":{"columns":["id","name"],"rows":[[7,"a"],[8,"b"],[9,"c"],[10,""]]}}'
    assert fold(json.dumps({"items": rows}, indent=2).encode()) == table


@pytest.mark.parametrize(
    "value", [b"1.0", b"1e5", b"123456789012345678901234567890", rb'"\u00e9 \/ \n"', b'"  a  b "', b"-0"]
)
def test_tokens_are_never_written_anew(value: bytes) -> None:
    assert fold(b"[ " + value + b" ]") == b"[" + value + b"]"


def test_records_of_different_shape_stay_records() -> None:
    rows = b'[{"a":1},{"a":2},{"b":3}]'
    assert fold(rows) == rows


def test_a_key_given_twice_is_nobodys_to_fold() -> None:
    with pytest.raises(NotAnObject):
        fold(b'{"a": 1, "a": 2}')


def test_white_space_in_strings_stays() -> None:
    assert minify(b'{ "a b" : "c  \\" d" }') == b'{"a b":"c  \\" d"}'
