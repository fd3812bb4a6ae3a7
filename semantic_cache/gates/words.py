"""Word lists as they are written in this package."""

from __future__ import annotations


def words_in(text: str) -> list[str]:
    """Return the words of a list that white space separates."""
    return text.split()
