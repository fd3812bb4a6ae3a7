"""Re-checks the arithmetic that an answer shows: `3 * 4 = 12`, `$5 x 2 = $10`, `<<3*4=12>>`.

A calculator mark `<<…=…>>` is one way of writing a calculation. What is no plain sum (unknowns, units within
it) is no claim: it is neither right nor wrong here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.after.numbers import NUMBER, numbers_in, same, value_of

_MARK = re.compile(r"<<([^<>=]{1,200})=([^<>=]{1,60})>>")
_OPERATOR = r"[-+*/x×÷−–]"
# All repetitions are bounded: a search must not become quadratic in what a model may write.
_OPERAND = rf"[\s($]{{0,4}}(?:{NUMBER})[\s)%]{{0,4}}"
_INLINE = re.compile(rf"({_OPERAND}(?:{_OPERATOR}{_OPERAND}){{1,12}})=[ $]{{0,3}}(-?{NUMBER})")
_TOKEN = re.compile(rf"\s*(?:({NUMBER})|(.))")
_SIGNS = str.maketrans({"×": "*", "x": "*", "÷": "/", "−": "-", "–": "-", "$": " "})
_DEEPEST = 20
_MOST = 50


@dataclass(frozen=True, slots=True)
class Calculation:
    """One calculation as the answer states it."""

    expression: str
    stated: float
    computed: float

    @property
    def right(self) -> bool:
        """The stated result is that of the expression."""
        return same(self.computed, self.stated)

    @property
    def operands(self) -> list[float]:
        """The numbers that went in."""
        return numbers_in(self.expression)


def calculations(text: str) -> list[Calculation]:
    """Return the calculations of a text in their order; at most 50. Those in marks if it has
    any, else those in line."""
    found: list[Calculation] = []
    for match in _MARK.finditer(text) if "<<" in text else _INLINE.finditer(text):
        stated, computed = value_of(match[2].rstrip("%")), evaluate(match[1])
        if len(found) == _MOST:
            break
        if stated is not None and computed is not None:
            found.append(Calculation(match[1].strip(), stated, computed))
    return found


def without_marks(text: str) -> str:
    """Return the text as it would read without calculator marks."""
    return _MARK.sub("", text)


def evaluate(expression: str) -> float | None:
    """Return the value of a sum of numbers, + - * / ( ) and %; None if it is anything else."""
    tokens = [number or sign for number, sign in _TOKEN.findall(expression.translate(_SIGNS).strip())]
    try:
        reader = _Reader(tokens)
        value = reader.sum(0)
    except (_NoSum, ZeroDivisionError):
        return None
    return value if reader.done else None


class _NoSum(Exception):
    pass


class _Reader:
    """Recursive descent over tokens; the usual precedence."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._tokens)

    def sum(self, depth: int) -> float:
        value = self._product(depth)
        while (sign := self._take("+", "-")) is not None:
            other = self._product(depth)
            value = value + other if sign == "+" else value - other
        return value

    def _product(self, depth: int) -> float:
        value = self._factor(depth)
        while (sign := self._take("*", "/")) is not None:
            other = self._factor(depth)
            value = value * other if sign == "*" else value / other
        return value

    def _factor(self, depth: int) -> float:
        if depth > _DEEPEST:
            raise _NoSum
        if self._take("-") is not None:
            return -self._factor(depth + 1)
        if self._take("(") is not None:
            value = self.sum(depth + 1)
            if self._take(")") is None:
                raise _NoSum
        else:
            number = None if self.done else value_of(self._tokens[self._at])
            if number is None:
                raise _NoSum
            value = number
            self._at += 1
        return value / 100 if self._take("%") is not None else value

    def _take(self, *signs: str) -> str | None:
        if self.done or self._tokens[self._at] not in signs:
            return None
        self._at += 1
        return self._tokens[self._at - 1]
