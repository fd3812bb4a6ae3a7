"""The strategies that make a text shorter, by the names that configuration and header have for them."""

from __future__ import annotations

from gateway.compression.mode import Way
from gateway.window.base import Strategy
from gateway.window.compressed import Compressed
from gateway.window.retrieval import Retrieval
from gateway.window.sliding import SlidingWindow
from gateway.window.summaries import HierarchicalSummary


def strategies() -> dict[Way, Strategy]:
    """Return them all. A model of a longer window is none of them: it gets the prompt whole."""
    return {
        "compress": Compressed(),
        "retrieve": Retrieval(),
        "window": SlidingWindow(),
        "summarise": HierarchicalSummary(),
    }
