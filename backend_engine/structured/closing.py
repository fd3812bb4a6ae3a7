"""Finds a short way to the end of a grammar, so that a bounded answer can still be completed."""

from __future__ import annotations

import numpy as np
from llguidance import LLMatcher

from backend_engine.structured.vocabulary import INSIDE_STRING, OUTSIDE_STRING, Vocabulary

# After so many tokens without a quote the walk draws every other one: greed may never leave a pattern, such
# as that of `multipleOf: 10`, which ends only on a 0.
_PATIENCE = 12


def way_out(matcher: LLMatcher, vocabulary: Vocabulary, limit: int) -> list[int] | None:
    """Return at most `limit` tokens after which `matcher` accepts, or None if a greedy walk finds none.

    The matcher is left as it was. The result is not the shortest way, only a way that exists.
    """
    matcher = matcher.deep_copy()
    orders = vocabulary.closing_orders
    taken: list[int] = []
    idle = 0
    brackets = list(vocabulary.bracket_ids)
    chance = np.random.default_rng(0)
    while not matcher.is_accepting() and len(taken) < limit:
        packed = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[: vocabulary.size]
        allowed = np.flatnonzero(bits)
        if not len(allowed):
            break
        order = orders[INSIDE_STRING if bits[brackets].all() else OUTSIDE_STRING]
        token = int(allowed[order[allowed].argmin()])
        if idle >= _PATIENCE and b'"' not in vocabulary.token_bytes[token] and chance.random() < 0.5:
            letters = allowed[vocabulary.is_single_letter[allowed]]
            token = int(chance.choice(letters)) if len(letters) else token
        if not matcher.consume_token(token):
            break
        taken.append(token)
        idle = 0 if b'"' in vocabulary.token_bytes[token] else idle + 1
    return taken if matcher.is_accepting() else None
