"""Means for strategies without a process behind them: a scripted model, and a ranking by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.errors import GatewayError
from gateway.window.base import Means, Progress


def count(text: str) -> int:
    """Count a token for every four bytes, the last one begun."""
    return -(-len(text.encode()) // 4)


@dataclass
class Doubles:
    """What was asked, and what is answered."""

    answer: Callable[[str], str | GatewayError] = lambda prompt: "NOTHING"
    fits: Callable[[str], float] | None = None
    """The similarity of a text to any question; without it there is nobody to say."""
    prompts: list[str] = field(default_factory=list)
    ranked: list[str] = field(default_factory=list)
    steps: list[Progress] = field(default_factory=list)

    async def _ask(self, prompt: str, tokens: int) -> str:
        self.prompts.append(prompt)
        said = self.answer(prompt)
        if isinstance(said, GatewayError):
            raise said
        return said

    async def _rank(self, question: str, texts: Sequence[str]) -> list[float] | None:
        if self.fits is None:
            return None
        self.ranked += texts
        return [self.fits(text) for text in texts]

    @property
    def means(self) -> Means:
        """What a strategy is given."""
        return Means(count, self._ask, self._rank, self.steps.append)


def passage(number: int) -> str:
    """Return a passage that has nothing to do with anything."""
    return (
        f"Hamlet {number}\nHamlet {number} lies by a river. Its people keep geese and mend nets. "
        f"In winter the road is closed. The nearest town has a fair in May, to which many walk."
    )


def document(passages: int, hidden: dict[int, str] | None = None) -> str:
    """Return a document with sentences hidden in some of its passages."""
    hidden = hidden or {}
    texts = [passage(number) for number in range(passages)]
    for place, fact in hidden.items():
        texts[place] = texts[place].replace(" In winter", f" {fact} In winter")
    return "\n\n".join(texts)
