"""What the small model's own token probabilities say of its answer.

The mean alone favours short answers; quantiles and margins beside it do better (arXiv 2404.10136).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from operator import mul


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


_UNSURE = log(0.5)
_SURE = log(0.95)
"""From here on a token is sure, and by how much tells nothing: most are, and sums over them take time."""
_SURE_MARGIN = log(0.95 / 0.05)
_MOST_ALTERNATIVES = 100
"""Tokens whose alternatives are looked at: an answer has committed itself by then."""
_TORN = 5


def logprob_signs(tokens: Sequence[Token]) -> dict[str, float]:
    """Return signs by name; {} without tokens.

    Margins (likeliest against second) and entropy (over the known top, the rest as one more outcome) are 0
    where the upstream gave fewer than two alternatives. A sure token has no entropy, and the margin of one
    that is just sure.
    """
    if not tokens:
        return {}
    logprobs = [token.logprob for token in tokens]
    values = sorted(logprobs)
    if values[0] < LOWEST:
        values = [max(LOWEST, value) for value in values]
    count = len(values)
    looked_at = tokens[:_MOST_ALTERNATIVES]
    torn = []
    for token in looked_at:
        top = token.top
        if token.logprob < _SURE and len(top) > 1:
            first, second = top[0], top[1]
            if not first >= second >= top[-1]:
                # Upstreams give them in falling order, but none promises it.
                first, second = sorted(top, reverse=True)[:2]
            torn.append((first - second, top))
    margins = []
    if torn or len(tokens[0].top) > 1:
        torn.sort()
        margins = [min(margin, _SURE_MARGIN) for margin, _ in torn]
        margins += [_SURE_MARGIN] * (len(looked_at) - len(torn))
    return {
        "logprob_mean": sum(values) / count,
        "logprob_least": values[0],
        "logprob_q10": _quantile(values, 0.10),
        "logprob_q25": _quantile(values, 0.25),
        "logprob_first": max(LOWEST, tokens[0].logprob),
        "unsure_tokens": bisect_left(values, _UNSURE) / count,
        "margin_mean": sum(margins) / len(looked_at),
        "margin_q10": _quantile(margins, 0.10) if margins else 0.0,
        # Where the margin is least, entropy is about as high as it gets.
        "entropy_most": max([_entropy(top) for _, top in torn[:_TORN]], default=0.0),
    }


def _quantile(values: Sequence[float], share: float) -> float:
    """Interpolate in sorted values."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def _entropy(top: Sequence[float]) -> float:
    likely = [exp(value) for value in top]
    rest = 1 - sum(likely)
    found: float = -sum(map(mul, likely, top))
    return found - rest * log(rest) if rest > 0 else found
