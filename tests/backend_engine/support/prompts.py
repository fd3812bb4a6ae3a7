"""Natural prompts for equality tests: questions, instructions, prose, code, lists, other scripts."""

from __future__ import annotations

_TOPICS = (
    "tide pools",
    "cast iron pans",
    "the metric system",
    "glaciers",
    "honey bees",
    "railway gauges",
    "sourdough bread",
    "chess openings",
    "lighthouses",
    "paper folding",
    "volcanic islands",
    "bicycle gears",
)
_ASKS = (
    "Explain {} to a curious child.",
    "Write three short facts about {}.",
    "Give me a one-paragraph history of {}.",
    "What do most people get wrong about {}?",
)
_OTHERS = (
    "Write a Python function that returns the n-th Fibonacci number.",
    "Translate to French: The bridge opens at noon.",
    "List the planets of the solar system, one per line.",
    "What is 17 times 23? Show your steps.",
    "Continue the story: The door of the mill had been locked for years, until",
    'Extract the name as JSON from: "Dr. Ada Brook will see you at 14:30."',
    "¿Cuál es la capital de Portugal?",
    "東京について一文で説明してください。",
)


def natural_prompts() -> list[str]:
    """Return 56 different prompts."""
    return [ask.format(topic) for topic in _TOPICS for ask in _ASKS] + list(_OTHERS)
