"""The canonical form of a request's JSON: one spelling for every value, and different values stay different.

Key order, white space and the spelling of strings (`\\u00e9` or `é`) do not count. Numbers keep their kind,
since `1` and `1.0` are not the same to every server: integers are exact whatever their size, fractions are
equal if they are the same decimal number. Content is never normalised: not case, not Unicode composition,
not white space inside strings.
"""

from __future__ import annotations

import json
from decimal import Decimal, DecimalException
from typing import Any

import msgspec

from semantic_cache.errors import NotCanonical

_ENCODE = msgspec.json.Encoder(order="sorted").encode

# A decimal number of at most 15 digits has a double of its own (IEEE 754, DBL_DIG), so within the range of
# normal doubles it can stand for the number; one character is the point.
_EXACT_DIGITS = 15
_LEAST, _GREATEST = 1e-300, 1e300


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a value that `decode` returned. Raises NotCanonical."""
    try:
        return _ENCODE(value)
    except RecursionError:
        raise NotCanonical("nesting") from None
    except (ValueError, TypeError):
        raise NotCanonical("value") from None


def decode(body: bytes) -> Any:
    """Return the JSON value in `body`. Raises NotCanonical for what is not strict JSON in UTF-8.

    Keys that an object holds twice are found by `refuse_duplicate_keys`.
    """
    try:
        return _DECODE(body)
    except RecursionError:
        raise NotCanonical("nesting") from None
    except DecimalException:
        raise NotCanonical("number") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NotCanonical("json") from None


def refuse_duplicate_keys(body: bytes, quotes: int) -> None:
    """Raise NotCanonical if an object in `body` holds a key twice: two readers may see different values.

    `quotes` is how many quotation marks the canonical form has. A parser keeps one of the two members, and
    with the other at least the two marks around its key are gone. Only a mark spelt `\\u0022` would upset
    the count; who writes that pays for a slow look at every object.
    """
    if b"\\u0022" not in body:
        if body.count(b'"') != quotes:
            raise NotCanonical("duplicate_keys")
        return
    try:
        json.loads(body, object_pairs_hook=_unique, parse_int=str, parse_float=str)
    except RecursionError:
        raise NotCanonical("nesting") from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise NotCanonical("duplicate_keys")


def _fraction(text: str) -> float | msgspec.Raw:
    """Return a number with a point or an exponent so that equal numbers, and only those, encode alike."""
    if len(text) <= _EXACT_DIGITS:
        value = float(text)
        if _LEAST < abs(value) < _GREATEST:
            return value
    sign, digits, exponent = Decimal(text).as_tuple()
    if not any(digits):
        return -0.0 if sign else 0.0
    assert isinstance(exponent, int)
    significant = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(significant)
    plain = f"{'-' if sign else ''}{significant.lstrip('0')}e{exponent}"
    if len(significant.lstrip("0")) <= _EXACT_DIGITS and _LEAST < abs(float(plain)) < _GREATEST:
        return float(plain)
    return msgspec.Raw(plain.encode())


_DECODE = msgspec.json.Decoder(float_hook=_fraction).decode
