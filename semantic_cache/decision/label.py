"""Whether a fresh answer agrees with the stored one: the label that exploring is for.

Sure cases are decided by text: equal, other numbers, yes against no. The rest goes by the cosine of the two
answers' embeddings, with a band in between that gives no label: a wrong label costs more than none.
"""

from __future__ import annotations

import re
from fractions import Fraction

from semantic_cache.gates.language import language
from semantic_cache.gates.negation import negation
from semantic_cache.gates.quantities import read_quantities
from semantic_cache.gates.text import Text, take_apart

AGREE = 0.90
DISAGREE = 0.75
SHORT = 12
MOST_CHARS = 16_384
"""Longer answers are only found equal or not: to take them apart costs more than their label is worth."""
_YES = re.compile(r"^\W*(yes|yeah|yep|correct|true|certainly|of course)\b", re.IGNORECASE)
_NO = re.compile(r"^\W*(no|nope|incorrect|false|not)\b", re.IGNORECASE)


def agree(stored: str, fresh: str, cosine: float | None) -> bool | None:
    """Return whether two answers say the same; None if that can't be told.

    `cosine` is that of their embeddings, None if they have none.
    """
    if max(len(stored), len(fresh)) > MOST_CHARS:
        return True if stored == fresh else None
    # Not remembered: answers are long, and each is looked at once.
    one, other = take_apart(stored), take_apart(fresh)
    if one.flat.strip() and one.flat == other.flat:
        return True
    if (yes := _verdict(stored)) is not None and (also := _verdict(fresh)) is not None and yes != also:
        return False
    if _last_number(one) != _last_number(other):
        return False
    if (
        max(len(one.words), len(other.words)) <= SHORT
        and language(one, other).passed
        and not negation(one, other).passed
    ):
        return False
    if cosine is None:
        return None
    return True if cosine >= AGREE else False if cosine <= DISAGREE else None


def _verdict(answer: str) -> bool | None:
    return True if _YES.match(answer) else False if _NO.match(answer) else None


def _last_number(text: Text) -> Fraction | None:
    """A worked answer ends with its result; prose without numbers has none."""
    values = [q.value for q in read_quantities(text) if q.kind in ("number", "time")]
    return values[-1] if values else None
