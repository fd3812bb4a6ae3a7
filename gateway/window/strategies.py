"""The strategies that make a text shorter, by the names that configuration and header have for them."""

from __future__ import annotations

from gateway.compression.mode import Way
from gateway.window.base import Strategy
from gateway.window.compressed import Compressed


def strategies() -> dict[Way, Strategy]:
    """Return them all. A model of a longer window is none of them: it gets the prompt whole."""
    return {"compress": Compressed()}
