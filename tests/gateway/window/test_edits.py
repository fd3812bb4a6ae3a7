"""Shorter texts in the client's own bytes."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.compression.prompt import Text
from gateway.window.edits import raw_places


@given(st.text(max_size=60), st.booleans(), st.data())
def test_characters_are_found_in_whatever_way_they_are_written(
    value: str, ascii_only: bool, data: st.DataObject
) -> None:
    try:
        raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        # A lone surrogate cannot be written otherwise.
        return
    if re.search(rb"\\ud[89a-f]", raw) and any("\ud800" <= char <= "\udfff" for char in value):
        return
    body = b'{"a": ' + raw + b"}"
    places = data.draw(st.lists(st.integers(0, len(value)), max_size=6))
    found = raw_places(body, Text(value, 6, 6 + len(raw)), places)
    assert found.keys() == set(places)
    for place, at in found.items():
        assert json.loads(b'"' + body[7:at] + b'"') == value[:place]
        assert json.loads(b'"' + body[at : 5 + len(raw)] + b'"') == value[place:]
