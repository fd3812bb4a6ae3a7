"""What can be read off a query in microseconds."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Runs of \w are only tried where they begin, or a long one (base64 in a prompt) would take quadratic time.
_CODE = re.compile(r"```|\bdef \w+\(|\bclass \w+|[;{}]\s*\n|=>|\bSELECT\b.{1,200}\bFROM\b|</\w+>|\w\.\w+\(")
_MATHS = re.compile(
    r"\\(?:frac|sum|int|sqrt)|[∑∫√≤≥≠]|\d\s{0,4}[-+*/^=]\s{0,4}\d|\b(?:prove|theorem|integral|equation)\b",
    re.I,
)
_NEGATED = re.compile(r"\b(?:not|except|never|least|incorrect|false)\b", re.I)
_DIGIT = re.compile(r"\d")
# A longer prompt is long, whatever stands at its end.
_LONGEST = 8_000


def query_signs(prompt: str, *, tools: bool = False) -> Mapping[str, float]:
    """Return signs by name, each of the order of 1."""
    text = prompt[:_LONGEST]
    words = text.split()
    return {
        "length": min(4.0, len(prompt) / 1000),
        "word_length": sum(map(len, words)) / max(1, len(words)) / 5,
        "digits": 10 * len(_DIGIT.findall(text)) / max(1, len(text)),
        "lines": min(4.0, text.count("\n") / 5),
        "code": float(_CODE.search(text) is not None),
        "maths": float(_MATHS.search(text) is not None),
        "negated": float(_NEGATED.search(text) is not None),
        "tools": float(tools),
    }
