"""What a language model makes of passages, read once by themselves and once after the question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.compression.parts import Passage
from gateway.compression.perplexity.contrastive import contrast
from gateway.compression.perplexity.nll import Score, mean
from gateway.compression.perplexity.prune import losses, may_go, surprise, words


@dataclass(frozen=True, slots=True)
class Reading:
    """One passage as the model reads it."""

    losses: Sequence[float]
    """What would go with each word, in nats; infinite for words that have to stay."""
    told: Sequence[float]
    """What the question tells of each sentence: nats for a word, on average."""


Read: TypeAlias = Callable[[str, Sequence[Passage]], Awaitable[list[Reading] | None]]
"""The readings of passages of prose with a question, or None if there is nobody to say."""


def reading_with(score: Score) -> Read:
    """Return what reads passages through a model's likelihoods, in one call."""

    async def read(question: str, passages: Sequence[Passage]) -> list[Reading] | None:
        prompts = [start + passage.whole for passage in passages for start in ("", f"{question}\n\n")]
        found = await score(prompts)
        if found is None:
            return None
        out = []
        for place, passage in enumerate(passages):
            spans = words(passage.units)
            alone, asked = (
                surprise(tokens, prompt, _shifted(spans, len(prompt) - len("".join(passage.units))))
                for tokens, prompt in zip(
                    found[2 * place : 2 * place + 2], prompts[2 * place : 2 * place + 2], strict=True
                )
            )
            out.append(_reading(passage, alone, asked))
        return out

    return read


def _shifted(spans: Sequence[tuple[int, int]], by: int) -> list[tuple[int, int]]:
    return [(start + by, end + by) for start, end in spans]


def _reading(passage: Passage, alone: Sequence[float], asked: Sequence[float]) -> Reading:
    told = contrast(alone, asked)
    of_units = []
    place = 0
    for unit in passage.units:
        count = len(words([unit]))
        of_units.append(mean(told[place : place + count]))
        place += count
    return Reading(losses(may_go(passage.units), alone, asked), of_units)
