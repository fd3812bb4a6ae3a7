"""The numbers that a text states, in digits and in words."""

from __future__ import annotations

import re

# Bounded, so that no text makes a search quadratic.
NUMBER = r"(?:\d[\d,]{0,15}(?:\.\d{1,15})?|\.\d{1,15})"
_NUMBER = re.compile(NUMBER)
# What a problem says in words and a solution computes with: counts, multiples, parts and units of time.
_WORDS: dict[str, float] = {
    **{word: value for value, word in enumerate(("one", "two", "three", "four", "five", "six"), 1)},
    **{word: value for value, word in enumerate(("seven", "eight", "nine", "ten", "eleven", "twelve"), 7)},
    **{"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100, "thousand": 1000},
    **{"half": 2, "twice": 2, "double": 2, "couple": 2, "third": 3, "triple": 3, "thrice": 3},
    **{"quarter": 4, "fourth": 4, "fifth": 5, "dozen": 12, "percent": 100},
    **{"week": 7, "day": 24, "hour": 60, "minute": 60, "year": 12},
}
_WORD = re.compile(r"\b(" + "|".join(_WORDS) + r")s?\b", re.IGNORECASE)


def value_of(text: str) -> float | None:
    """Return the number that `text` is, thousands' commas and a dollar sign allowed; None if it is none."""
    try:
        return float(text.strip().lstrip("$").replace(",", ""))
    except ValueError:
        return None


def numbers_in(text: str) -> list[float]:
    """Return the numbers written in digits, in their order; signs are not read."""
    found = (value_of(match) for match in _NUMBER.findall(text))
    return [value for value in found if value is not None]


def worded_in(text: str) -> set[float]:
    """Return the numbers that words of the text stand for; 100 for a percent sign."""
    found = {_WORDS[match.lower()] for match in _WORD.findall(text)}
    return found | {100.0} if "%" in text else found


def same(a: float, b: float) -> bool:
    """Return whether two numbers are equal as people write them: to a cent, or a thousandth of their size."""
    return abs(a - b) <= max(0.01, 0.001 * abs(b))
