"""LLMLingua (Jiang et al. 2023): how many tokens each component may keep, and which, segment by segment.

The question is never asked: what stays is what a language model could not have guessed from what was kept
before it. Own code from the paper's formulas.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.compression.perplexity.nll import Token

SEGMENT = 200
"""Tokens that are decided about at once."""
Nlls = Callable[[str, str], Awaitable[list[Token]]]
"""Tokens of the second text, told after the first."""


@dataclass(frozen=True, slots=True)
class Components:
    """Tokens of a prompt: its instruction, its documents (the paper's demonstrations) and its question."""

    instruction: int
    documents: int
    question: int


def documents_rate(rate: float, of: Components, instruction: float = 1.0, question: float = 1.0) -> float:
    """Return the share of the documents that may stay, so that a share `rate` of the whole prompt does.

    tau_d = (tau L - tau_ins L_ins - tau_q L_q) / L_d, not below 0 nor above 1; `instruction` and `question`
    are the shares of those two that stay.
    """
    if of.documents == 0:
        return 1.0
    total = of.instruction + of.documents + of.question
    left = rate * total - instruction * of.instruction - question * of.question
    return min(1.0, max(0.0, left / of.documents))


def coarse(perplexities: Sequence[float], sizes: Sequence[int], budget: float) -> list[int]:
    """Return the documents that a model finds hardest to guess, until `budget` tokens are spent, in order.

    The last one may go beyond: the fine step takes the rest away.
    """
    kept: list[int] = []
    spent = 0
    for place in sorted(range(len(sizes)), key=lambda place: (-perplexities[place], place)):
        if spent >= budget:
            break
        kept.append(place)
        spent += sizes[place]
    return sorted(kept)


def gamma(nlls: Sequence[float], rate: float) -> float:
    """Return the NLL that a token must exceed for a share `rate` of its segment to stay."""
    place = int(len(nlls) * rate)
    ordered = sorted(nlls, reverse=True)
    return ordered[place] if place < len(ordered) else float("-inf")


async def iterative(text: str, rate: float, nlls: Nlls, *, segment: int = SEGMENT) -> str:
    """Return a text from which the guessable tokens are gone, about a share `rate` of them left.

    Each segment is told after what is kept of those before it, so that a token is not kept for what has been
    taken away already.
    """
    kept = ""
    rest = text
    while rest:
        tokens = (await nlls(kept, rest))[:segment]
        least = gamma([token.nll for token in tokens], rate)
        kept += "".join(rest[token.start : token.end] for token in tokens if token.nll > least)
        rest = rest[tokens[-1].end :] if tokens else ""
    return kept
