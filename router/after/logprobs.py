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
    text: str = ""
    """Empty if the upstream does not say it."""


LOWEST = -20.0
"""What a token counts at least: one that a grammar forced was impossible to the model."""


_SURE = log(0.995)
"""A token that was this probable counts as having no entropy: most are, and the sums take time."""


def logprob_signs(tokens: Sequence[Token]) -> dict[str, float]:
    """Return signs by name; {} without tokens.

    Margins (likeliest against second) and entropy (over the known top, the rest as one more outcome) are 0
    where the upstream gave fewer than two alternatives.
    """
    if not tokens:
        return {}
    values = sorted([max(LOWEST, token.logprob) for token in tokens])
    margins, entropies = [], []
    for token in tokens:
        top = token.top
        if len(top) < 2:
            continue
        # Upstreams give them in falling order, but not all say so.
        first, second = top[:2] if top[0] >= top[1] >= top[-1] else sorted(top, reverse=True)[:2]
        margins.append(max(LOWEST, first) - max(LOWEST, second))
        entropies.append(0.0 if first > _SURE else _entropy(top))
    margins.sort()
    return {
        "logprob_mean": sum(values) / len(values),
        "logprob_least": values[0],
        "logprob_q10": _quantile(values, 0.10),
        "logprob_q25": _quantile(values, 0.25),
        "logprob_first": max(LOWEST, tokens[0].logprob),
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
    rest, found = 1.0, 0.0
    for value in top:
        if value > LOWEST:
            p = exp(value)
            rest -= p
            found -= p * value
    return found - rest * log(rest) if rest > 0 else found
