"""JSON in fewer characters: no white space between tokens, and like records as columns and rows.

Tokens are moved, never decoded and written anew: 1.0 stays 1.0, a number of thirty digits keeps them all, an
escape stays the escape that it was. What has a key twice in one object, or is no JSON, is left alone.
"""

from __future__ import annotations

import re

from gateway.wire.elements import NotAnArray, elements
from gateway.wire.members import NotAnObject, members

MIN_RECORDS = 3
_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*+")|[ \t\r\n]+', re.DOTALL)
_MAX_DEPTH = 24


def minify(value: bytes) -> bytes:
    """Return valid JSON without the white space between its tokens."""
    return _TOKEN.sub(lambda found: found[1] or b"", value)


def fold(value: bytes) -> bytes:
    """Return JSON of the same content, with arrays of like records as `{"columns":[...],"rows":[[...]]}`.

    Raises NotAnObject or NotAnArray for what is no JSON, or JSON that two readers might read differently.
    """
    return _fold(minify(value), _MAX_DEPTH)


def _fold(value: bytes, depth: int) -> bytes:
    first = value[:1]
    if depth == 0 or first not in (b"{", b"["):
        return value
    if first == b"{":
        spans = members(value)
        inner = [
            value[span.key_start : span.start] + _fold(value[span.start : span.end], depth - 1)
            for span in spans.values()
        ]
        return b"{" + b",".join(inner) + b"}"
    items = [value[start:end] for start, end in elements(value)]
    if (table := _table(items, depth)) is not None:
        return table
    return b"[" + b",".join([_fold(item, depth - 1) for item in items]) + b"]"


def _table(items: list[bytes], depth: int) -> bytes | None:
    """Return records that all have the same keys in the same order as one table, if that is shorter."""
    if len(items) < MIN_RECORDS or any(item[:1] != b"{" for item in items):
        return None
    records = [members(item) for item in items]
    keys = list(records[0])
    if not keys or any(list(record) != keys for record in records):
        return None
    names = [items[0][span.key_start : span.start].removesuffix(b":") for span in records[0].values()]
    rows = [
        b"[" + b",".join([_fold(item[span.start : span.end], depth - 1) for span in record.values()]) + b"]"
        for item, record in zip(items, records, strict=True)
    ]
    table = b'{"columns":[' + b",".join(names) + b'],"rows":[' + b",".join(rows) + b"]}"
    return table if len(table) < sum(map(len, items)) else None


__all__ = ["NotAnArray", "NotAnObject", "fold", "minify"]
