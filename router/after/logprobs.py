"""What the small model's own token probabilities say of its answer.

The mean alone favours short answers; quantiles and margins beside it do better (arXiv 2404.10136).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer: its log probability, and those of the likeliest tokens there, itself
    included."""

    logprob: float
    top: tuple[float, ...] = ()


# A token that was impossible to the model, such as one that a grammar forced.
_LOWEST = -20.0


def logprob_signs(tokens: Sequence[Token]) -> dict[str, float]:
    """Return signs by name; {} without tokens.

    Margins (likeliest against second) and entropy (over the known top, the rest as one more outcome) are 0
    where the upstream gave fewer than two alternatives.
    """
    if not tokens:
        return {}
    values = sorted(max(_LOWEST, token.logprob) for token in tokens)
    tops = [sorted((max(_LOWEST, value) for value in token.top), reverse=True) for token in tokens]
    tops = [top for top in tops if len(top) > 1]
    margins = sorted(top[0] - top[1] for top in tops)
    entropies = [_entropy(top) for top in tops]
    return {
        "logprob_mean": sum(values) / len(values),
        "logprob_least": values[0],
        "logprob_q10": _quantile(values, 0.10),
        "logprob_q25": _quantile(values, 0.25),
        "logprob_first": max(_LOWEST, tokens[0].logprob),
        "unsure_tokens": sum(value < log(0.5) for value in values) / len(values),
        "margin_mean": sum(margins) / len(margins) if margins else 0.0,
        "margin_q10": _quantile(margins, 0.10) if margins else 0.0,
        "entropy_mean": sum(entropies) / len(entropies) if entropies else 0.0,
        "entropy_most": max(entropies, default=0.0),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    """Interpolate in sorted values."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def _entropy(top: Sequence[float]) -> float:
    known = [exp(value) for value in top]
    rest = max(0.0, 1 - sum(known))
    return -sum(p * log(p) for p in (*known, rest) if p > 0)
