"""Whether one tenant's fresh answer vouches for another's, so that a whole group may be given that one.

More is asked than for a label: whoever wrote the other question may have meant its answer to be taken for
somebody else's, with a sentence in it that the cosine of two long texts does not show. So neither answer may
hold a number, a name or a literal (an address, a command, a quotation) that the other lacks; no vector and no
model outvotes that.
"""

from __future__ import annotations

from semantic_cache.decision.label import agree
from semantic_cache.gates.entities import entities
from semantic_cache.gates.language import language
from semantic_cache.gates.literals import literals
from semantic_cache.gates.negation import negation
from semantic_cache.gates.numbers import numbers
from semantic_cache.gates.text import parse

MOST_CHARS = 8192
"""Longer answers vouch for each other only if they are equal to the letter."""
_GATES = (numbers, entities, literals, negation)


def vouches(stored: str, fresh: str, cosine: float | None) -> bool | None:
    """Return whether the fresh answer says what the stored one says, and no less; None if it can't be told.

    `cosine` is that of their embeddings, None if they have none.
    """
    if not stored.strip() or not fresh.strip():
        return None
    if stored == fresh:
        return True
    if max(len(stored), len(fresh)) > MOST_CHARS:
        return False
    same = agree(stored, fresh, cosine)
    if same is False:
        return False
    one, other = parse(stored), parse(fresh)
    try:
        if not all(gate(one, other).passed for gate in _GATES):
            return False
        # In another language than the gates' own their silence means nothing.
        return same if language(one, other).passed else None
    except (ValueError, ArithmeticError, LookupError, RecursionError):
        return None
