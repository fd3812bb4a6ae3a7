"""Whether to ask a model for a draft where the text offers one already: learnt from what it brought."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

_SURE = 4.0
"""Tokens that a draft of the text is expected to bring beyond which a model is not worth its time."""
_LEVELS = 2
"""Levels a token: drafts that promise more are told apart from those that promise less."""
_VERIFYING = 0.4
"""The share of what a drafted token saves that verifying it takes."""
_MEMORY = 0.96
_ANYWAY = 24
"""Times not asked after which it is asked again: what pays may change."""
_RECENT = 15
"""Times whose median is what asking takes: the first one, or one on a busy core, takes far longer."""


@dataclass(slots=True)
class _Experience:
    """Seconds of decoding that a model's drafts saved, each time; at first it is taken to save many."""

    saved: float = 0.004
    passed_over: int = 0


class Asking:
    """Remembers what asking brought, by how much the text had promised."""

    def __init__(self) -> None:
        self._experience = [_Experience() for _ in range(int(_SURE * _LEVELS))]
        self._taken: deque[float] = deque(maxlen=_RECENT)
        self._takes = 0.0

    def pays(self, expected: float) -> bool:
        """Tell whether to ask for a sequence whose text promises `expected` tokens."""
        if expected >= _SURE:
            return False
        experience = self._experience[int(expected * _LEVELS)]
        if experience.saved * (1 - _VERIFYING) > self._takes or experience.passed_over >= _ANYWAY:
            experience.passed_over = 0
            return True
        experience.passed_over += 1
        return False

    def took(self, seconds: float) -> None:
        """Note how long asking took, for each sequence."""
        self._taken.append(seconds)
        self._takes = statistics.median(self._taken)

    def brought(self, expected: float, seconds: float) -> None:
        """Note what asking saved where the text had promised `expected` tokens; a loss if it misled."""
        experience = self._experience[int(expected * _LEVELS)]
        experience.saved = _MEMORY * experience.saved + (1 - _MEMORY) * seconds
