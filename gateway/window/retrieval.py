"""Strategy `retrieve`: the passages that have to do with the question stand in the text's place.

Nothing is asked of the model beforehand, so it is the quickest and the cheapest. It is for questions whose
answer stands in a few places; what has to be put together from everything it cannot find.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.window.base import CannotShorten, Means, Overlong, Progress
from gateway.window.excerpt import MARK_TOKENS, excerpt
from gateway.window.relevance import LIKELY, Relevance, passages_of, relevance

LEAST_TOKENS = 32
"""A smaller budget holds no passage."""
SURE_SHARE = 0.5
"""Share of the budget that the best passages fill whatever their scores; the rest is for likely ones."""
NEIGHBOUR_TOKENS = 64
"""Tokens of units that stay before and behind a passage, to tell who "he" is."""


class Retrieval:
    """Keeps what fits the question."""

    name = "retrieve"

    async def shorten(self, overlong: Overlong, means: Means) -> str:
        """Return the passages that fit the question, in their order, with marks where something is missing.

        Raises CannotShorten if there is no question or no room.
        """
        if not overlong.question.strip():
            raise CannotShorten("there is no question to look for")
        if overlong.budget < LEAST_TOKENS:
            raise CannotShorten(f"{overlong.budget} tokens hold no passage")
        found = await relevance(
            overlong.text,
            overlong.question,
            means,
            lambda done, of: means.progress(Progress(self.name, "passages", done, of)),
            passages_of,
        )
        return await asyncio.to_thread(_fitting, overlong, means, found)


def _fitting(overlong: Overlong, means: Means, found: Relevance) -> str:
    chosen = _best(found, overlong.budget)
    kept = _with_neighbours(found, chosen, overlong.budget)
    while True:
        text = excerpt(overlong.text, found.units, kept)
        tokens = means.count(text)
        if tokens <= overlong.budget:
            return text
        # The frames of JSON and the marks of parts are not counted beforehand.
        if len(chosen) > 1:
            del chosen[min(len(chosen) - 1, max(1, len(chosen) * overlong.budget // tokens)) :]
            kept = {unit for place in chosen for unit in found.passages[place].units}
        elif len(kept) > 1:
            kept.remove(max(kept))
        else:
            raise CannotShorten(f"no passage fits into {overlong.budget} tokens")


def _best(found: Relevance, budget: int) -> list[int]:
    """Return passages within the budget, best first."""
    chosen: list[int] = []
    used = 0
    for place in found.best_first:
        cost = found.passages[place].tokens + MARK_TOKENS
        if used >= SURE_SHARE * budget and found.scores[place] < LIKELY:
            continue
        if used + cost > budget:
            continue
        chosen.append(place)
        used += cost
    return chosen or list(found.best_first[:1])


def _with_neighbours(found: Relevance, chosen: Sequence[int], budget: int) -> set[int]:
    """Return the units of the passages, and of what stands around them as far as there is room."""
    kept = {unit for place in chosen for unit in found.passages[place].units}
    left = budget - sum(found.passages[place].tokens + MARK_TOKENS for place in chosen)
    for place in chosen:
        around = found.passages[place].units
        for unit in (around.start - 1, around.stop):
            if unit in kept or not 0 <= unit < len(found.units):
                continue
            tokens = found.units[unit].tokens
            if tokens <= min(NEIGHBOUR_TOKENS, left):
                kept.add(unit)
                left -= tokens
    return kept
