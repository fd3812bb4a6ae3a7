"""Writes down what is left of a text, with marks where something is missing.

Nobody is to take for absent what was only left out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

from gateway.compression.parts import GAP_MARK, records
from gateway.window.units import Unit

PASSAGES_LEFT_OUT = "[{} passages left out]"
MARK_TOKENS = 10
"""What a mark and the white space around it take."""


def excerpt(text: str, units: Sequence[Unit], kept: Collection[int]) -> str:
    """Return the text with these of its units, in their order; what is left of JSON records is JSON."""
    out: list[str] = []
    gone = 0
    for _, block in groupby(range(len(units)), key=lambda place: units[place].block):
        places = list(block)
        here = [place for place in places if place in kept]
        if not here:
            gone += 1
            continue
        if gone:
            out.append(PASSAGES_LEFT_OUT.format(gone))
            gone = 0
        whole = text[units[places[0]].start : units[places[-1]].end]
        out.append((whole if len(here) == len(places) else _part(text, units, places, here, whole)).strip())
    if gone:
        out.append(PASSAGES_LEFT_OUT.format(gone))
    return "\n\n".join(out)


def _part(text: str, units: Sequence[Unit], places: Sequence[int], here: Sequence[int], whole: str) -> str:
    if whole.lstrip().startswith(("[", "{")):
        found = records(whole.strip())
        if found is not None and len(found.units) == len(places):
            return found.render({place - places[0] for place in here})
    out: list[str] = []
    before = places[0] - 1
    for place in here:
        if place != before + 1:
            out.append(GAP_MARK)
        out.append(text[units[place].start : units[place].end])
        before = place
    return "".join(out).rstrip() + (" […]" if before != places[-1] else "")
