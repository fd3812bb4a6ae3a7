"""How likely the next drafted token is to be accepted: learnt from what became of earlier ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from backend_engine.spec.base import Draft

MOST_EVIDENCE = 16
"""Evidence beyond this is not told apart."""
LEAST_CHANCE = 0.15
"""Probability below which a token is not looked at: it hardly ever pays, and looking takes time too."""
_TEXT_LEVELS = 8
_MODEL_LEVELS = 16
"""Sizes of shares that are told apart: of frequencies in text, and of a model's probabilities."""
_SEQUENCE_MEMORY = 0.9
_ENGINE_MEMORY = 0.99
_PRIOR_WEIGHT = 4.0
"""Drafted tokens after which experience counts as much as what was thought before it."""

_Cell: TypeAlias = tuple[str, int, int]
"""Tokens that are right about equally often: their source, their evidence, and the size of their share."""


@dataclass(slots=True)
class Tally:
    """Drafted tokens: how many were right, and how many should have been; older ones count less."""

    right: float = 0.0
    expected: float = 0.0

    def add(self, right: float, expected: float, memory: float) -> None:
        self.right = self.right * memory + right
        self.expected = self.expected * memory + expected


class AcceptanceRates:
    """Rates over all sequences, by source, evidence and share; a sequence's own fortune moves its rates.

    What was drafted is compared with what was said, whether or not it was verified. So nothing has to be
    tried to be learnt about, and a bad time ends by itself.
    """

    def __init__(self) -> None:
        self._cells: defaultdict[_Cell, Tally] = defaultdict(Tally)
        """Here every token that was drafted is `expected`."""

    def chances(self, sequence: Tally, draft: Draft) -> tuple[float, ...]:
        """Return for each token of `draft` the probability, in (0, 1), that it is right if those before are.

        The rest of a draft that is hardly ever right so far is left out.
        """
        # A model looks at the sequence itself, so its shares follow the sequence's fortune already.
        fortune = 1.0
        if draft.evidence:
            fortune = (sequence.right + _PRIOR_WEIGHT) / (sequence.expected + _PRIOR_WEIGHT)
        chances: list[float] = []
        so_far = 1.0
        for at in range(len(draft.token_ids)):
            chance = min(self._rate(draft, at) * fortune, 0.99)
            so_far *= chance
            if so_far < LEAST_CHANCE:
                break
            chances.append(chance)
        return tuple(chances)

    def learn(self, sequence: Tally, draft: Draft, said: Sequence[int]) -> None:
        """Compare `draft` with the tokens that came in its place, up to its first wrong one."""
        for at, (token, right) in enumerate(zip(draft.token_ids, said, strict=False)):
            if draft.evidence:
                sequence.add(token == right, self._rate(draft, at), _SEQUENCE_MEMORY)
            self._cells[_cell(draft, at)].add(token == right, 1, _ENGINE_MEMORY)
            if token != right:
                return

    def _rate(self, draft: Draft, at: int) -> float:
        # At first a model is taken at its word, and n recognised tokens for n successes among n + 2.
        cell = _cell(draft, at)
        prior = draft.shares[at] if draft.shares else 1.0
        if known := cell[1]:
            prior *= (known + 0.5) / (known + 2)
        tally = self._cells[cell]
        return (tally.right + _PRIOR_WEIGHT * prior) / (tally.expected + _PRIOR_WEIGHT)


def _cell(draft: Draft, at: int) -> _Cell:
    evidence, shares = draft.evidence, draft.shares
    if not shares:
        return draft.source, evidence if evidence < MOST_EVIDENCE else MOST_EVIDENCE, _TEXT_LEVELS
    if not evidence:
        return draft.source, 0, round(_MODEL_LEVELS * shares[at])
    evidence += at
    return (
        draft.source,
        evidence if evidence < MOST_EVIDENCE else MOST_EVIDENCE,
        round(_TEXT_LEVELS * shares[at]),
    )


def num_right(token_ids: Sequence[int], said: Sequence[int]) -> int:
    """Return how many of a draft's tokens came before the first that did not."""
    for at, (token, right) in enumerate(zip(token_ids, said, strict=False)):
        if token != right:
            return at
    return min(len(token_ids), len(said))
