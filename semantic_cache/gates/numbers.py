"""Numbers, dates and times: the same quantities on both sides, each of the same thing."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction

from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.categories import other_unit
from semantic_cache.gates.lexicon import FUNCTION_WORDS
from semantic_cache.gates.quantities import Quantity, quantities
from semantic_cache.gates.synonyms import synonymous
from semantic_cache.gates.text import Text, passages

NAME = "numbers"
_ONE_WORDS = frozenset(["a", "an", "one", "single", "once", "per", "each", "every"])
_PERCENT_OF = Fraction(1, 100)
_FIRST = frozenset(["first", "initial", "initially", "beginning", "start", "original", "originally", "begin"])
_NEXT = frozenset(["second", "next", "following", "subsequent", "other", "another", "later", "then"])


def numbers(a: Text, b: Text) -> GateVerdict:
    """Refuse unless both texts hold the same quantities, written in whatever way, of the same things."""
    mine, other = quantities(a), quantities(b)
    if not mine and not other:
        return GateVerdict(NAME, True)
    for kind in ("number", "time"):
        left = Counter(q.value for q in mine if q.kind == kind)
        right = Counter(q.value for q in other if q.kind == kind)
        if odd := _difference(left, right, a, b):
            return GateVerdict(NAME, False, f"{kind} {odd}")
    if odd := _ordinals(mine, other, a, b):
        return GateVerdict(NAME, False, f"ordinal {odd}")
    if odd := _exchanged(mine, other):
        return GateVerdict(NAME, False, f"of another thing: {odd}")
    return GateVerdict(NAME, True)


def _difference(left: Counter[Fraction], right: Counter[Fraction], a: Text, b: Text) -> str:
    for value in left.keys() | right.keys():
        gap = left[value] - right[value]
        if not gap:
            continue
        if value == 1:
            # "a dollar" is "1 dollar"; "one" is often no number. Digits on one side need a word on the other.
            words = b if gap > 0 else a
            if sum(word.lower in _ONE_WORDS for word in words.words) >= abs(gap):
                continue
        return str(float(value)) if value.denominator > 1 else str(value)
    return ""


def _ordinals(mine: tuple[Quantity, ...], other: tuple[Quantity, ...], a: Text, b: Text) -> str:
    left = Counter(q.value for q in mine if q.kind == "ordinal")
    right = Counter(q.value for q in other if q.kind == "ordinal")
    for value in left.keys() | right.keys():
        gap = left[value] - right[value]
        if not gap or (passages(a, b) and not (left - right and right - left)):
            # A passage may say "the next day" for "the second day"; it must not say "the third".
            continue
        there = b if gap > 0 else a
        stand_in = _FIRST if value == 1 else _NEXT if value == 2 else frozenset()
        if not stand_in.isdisjoint(there.lowers):
            continue
        return str(value)
    return ""


def _exchanged(mine: tuple[Quantity, ...], other: tuple[Quantity, ...]) -> str:
    """Name a thing that both texts count, but with other values, if both hold the values of the other."""
    left, right = _by_unit(mine), _by_unit(other)
    for unit, values in left.items():
        # "4 feet" and "4 days": a value that both have, but never of the same unit.
        for value in values:
            units = [there for there, found in right.items() if value in found]
            if units and all(other_unit(unit, there) for there in units):
                return f"{value} {unit}"
    values_left = {q.value for q in mine}
    values_right = {q.value for q in other}
    for unit, values in left.items():
        for unit_there, values_there in right.items():
            if not synonymous(unit, unit_there) or not values.isdisjoint(values_there):
                continue
            if values <= values_right and values_there <= values_left and unit in right:
                return unit
    return ""


def _by_unit(found: tuple[Quantity, ...]) -> dict[str, set[Fraction]]:
    out: dict[str, set[Fraction]] = defaultdict(set)
    for quantity in found:
        if quantity.kind == "number" and quantity.unit and quantity.unit not in FUNCTION_WORDS:
            out[quantity.unit].add(quantity.value)
    return out
