"""The elements of an array are found where they stand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.elements import NotAnArray, elements

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 0, 2]))
def test_every_element_is_the_slice_of_its_span(values: list[object], indent: int | None) -> None:
    array = json.dumps(values, indent=indent).encode()
    assert [json.loads(array[start:end]) for start, end in elements(array)] == values


@pytest.mark.parametrize("text", [b"", b"{}", b"[1", b"1", b"[1]]"])
def test_what_is_no_array_is_refused(text: bytes) -> None:
    with pytest.raises(NotAnArray):
        elements(text)
