"""Quoted strings, code, addresses, identifiers and formulas: nothing in them may differ."""

from __future__ import annotations

import re
from collections import Counter

from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.text import Text

NAME = "literals"
_LITERAL = re.compile(
    r"```[\s\S]*?(?:```|\Z)"
    r"|`[^`\n]+`"
    r"|\"[^\"\n]{1,300}\""
    r"|“[^”\n]{1,300}”"
    r"|(?<![\w'])'[^'\n]{1,300}'(?![\w'])"
    r"|https?://\S+|\bwww\.\S+"
    r"|\b[\w.+-]+@[\w-]+\.[\w.]+"
    r"|(?<!\w)[~.]{0,2}/[\w.-]+(?:/[\w.-]+)+"
    r"|\b[A-Za-z]:\\\S+"
    r"|(?<!\w)--?[a-z][\w-]*(?:=\S+)?"
    r"|\b\w+(?:_\w+)+\b"
    r"|\b[a-z]{2,}(?:[A-Z][a-z0-9]*)+\b"
    r"|\b\w+(?:\.\w+)*\(\S*\)"
    r"|\bv?\d+\.\d+\.\d+[\w.+-]*"
    r"|\b[A-Za-z]+\d[\w-]*\b|\b\d+[A-Za-z]{3,}\w*\b"
    r"|[#@]\w+"
    r"|\\[a-zA-Z]+(?:\{[^}]*\})*"
)
_OPERATORS = re.compile(r"[=<>!+*^|&~{}\[\]\\;@#→≤≥≠±×÷√∑∫]+|(?<=\s)[-/](?=\s)")
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th|percent|mn|bn)\b", re.IGNORECASE)


def literals(a: Text, b: Text) -> GateVerdict:
    """Refuse unless both texts hold the same literals, to the letter, and the same operators."""
    mine, other = _literals(a), _literals(b)
    if mine != other:
        odd = next(iter((mine - other) + (other - mine)))
        return GateVerdict(NAME, False, odd[:24])
    left, right = _operators(a), _operators(b)
    if left != right and not _punctuation(left, right):
        return GateVerdict(NAME, False, next(iter((left - right) + (right - left))))
    return GateVerdict(NAME, True)


@remembered(4096)
def _operators(text: Text) -> Counter[str]:
    return Counter(_OPERATORS.findall(text.raw))


@remembered(4096)
def _literals(text: Text) -> Counter[str]:
    return Counter(
        literal.strip("`\"“”'").strip() if not literal.startswith("```") else literal
        for literal in _LITERAL.findall(text.raw)
        if not _ORDINAL.fullmatch(literal)
    )


def _punctuation(left: Counter[str], right: Counter[str]) -> bool:
    return set((left - right) + (right - left)) <= {"!", "!!", "!!!", ";", "-", "[", "]", "&"}
