"""How sure a model was of what its answer commits to.

Most tokens of "The capital of Norway is Oslo." repeat the question or hold the sentence together, and are
probable whatever the model knows. What it knows shows in the words of the first sentence that are its own:
the least probable of them tells more than all averages over tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log1p

from router.after.logprobs import Token
from router.after.words import Word, first_sentence, is_telling, words_of

_MOST = 40
"""Words of the first sentence that are looked at; a sentence that goes on says no more."""
_FARTHEST = -25.0


def focus_signs(prompt: str, tokens: Sequence[Token]) -> dict[str, float]:
    """Return signs by name; {} if the tokens have no text, or none is a word."""
    words = first_sentence(tokens)
    if not words:
        return {}
    said = [word for word in words[:_MOST] if is_telling(word.text)]
    given = set(words_of(prompt))
    own = [word for word in said if word.text not in given]
    signs = {
        "sentence_words": log1p(len(words)),
        "own_words": min(10.0, len(own)),
        "no_own_word": float(not own),
        "said_least": _least(said),
    }
    if own:
        least = _least(own)
        signs |= {
            "own_least": least,
            "own_least_p": exp(least),
            "own_first": max(_FARTHEST, own[0].logprob),
            "own_last": max(_FARTHEST, own[-1].logprob),
            "own_mean": sum(max(_FARTHEST, word.logprob) for word in own) / len(own),
        }
    return signs


def _least(words: Sequence[Word]) -> float:
    return max(_FARTHEST, min((word.logprob for word in words), default=0.0))
