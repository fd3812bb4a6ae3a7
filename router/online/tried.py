"""What a route learns from: a smaller tier's answer that could be compared with the last tier's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from router.after.signs import AnswerSigns


@dataclass(frozen=True, slots=True)
class Tried:
    """One answer of a smaller tier. It holds signs, which are numbers, and no word of anybody's."""

    id: str
    """Unlike every other's: workers and stores tell by it what they have already."""
    tenant: str
    tier: str
    """The model's name in the configuration."""
    at: float
    """Unix seconds."""
    query: Mapping[str, float]
    signs: AnswerSigns
    agrees: bool
    """It says the same as the last tier's answer: the only quality that can be known without people."""
    weight: float = 1.0
    """One over the probability with which it was to be compared at all."""
    kept: bool = False
    """The client got it."""
    question: str = ""
    """The digest by which the cache knows the question, in hex; empty if it does not."""
    last: str = ""
    """The tier that it was compared with; empty if that is not known."""
