"""Whether what a model wrote about a text stands in that text.

A number or an id that the text does not have is made up, or has been mistaken for another: the sentence with
it goes. Merging summaries makes more of these at every level (arXiv 2502.00977).
"""

from __future__ import annotations

import re

from gateway.compression import bm25
from gateway.compression.parts import sentences

# Runs first, and digits in them afterwards: looking ahead from each sign of a long run would take minutes.
_RUN = re.compile(r"[\w.,:/@+-]+")
_DIGIT = re.compile(r"\d")
_AROUND = ".,:/@+-"
_JOINED = re.compile(r"[-/:@+]")
"""2019-2020 is also 2019 and 2020."""
_ORDER = re.compile(r"^\s*(?:[-*•]\s+|\d{1,3}[.)]\s+)", re.MULTILINE)
"""What numbers the points of a list stands in no source."""


class Source:
    """A text to compare with."""

    def __init__(self, text: str) -> None:
        self.terms = frozenset(bm25.terms(text))
        self._atoms = {part for atom in _atoms(text) for part in (atom, *_JOINED.split(atom))}

    def has_atoms_of(self, text: str, besides: Source | None = None) -> bool:
        """Return whether all numbers and ids of a text stand here, but for those that stand in `besides`."""
        return all(
            self._has(atom) or (besides is not None and besides._has(atom))
            for atom in _atoms(_ORDER.sub("", text))
        )

    def _has(self, atom: str) -> bool:
        return atom in self._atoms or all(part in self._atoms for part in _JOINED.split(atom) if part)

    def grounded(self, text: str) -> str:
        """Return a text without the sentences whose numbers or ids do not stand here."""
        return "".join(part for part in sentences(text) if self.has_atoms_of(part)).strip()

    def support(self, text: str) -> float:
        """Return the share of a text's words that stand here; 0 if it has none."""
        words = bm25.terms(text)
        return sum(word in self.terms for word in words) / len(words) if words else 0.0


def finished(text: str) -> str:
    """Return a text up to the end of its last whole sentence, or all of it if it has none."""
    text = text.strip()
    if text.endswith((".", "!", "?", "。", "！", "？", '"', "”", ")")):
        return text
    return "".join(sentences(text)[:-1]).strip() or text


def _atoms(text: str) -> set[str]:
    """Return numbers and ids as they compare: 40,000 is 40000."""
    return {run.strip(_AROUND).replace(",", "").lower() for run in _RUN.findall(text) if _DIGIT.search(run)}
