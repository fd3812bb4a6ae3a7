"""All gates, cheapest and surest first."""

from __future__ import annotations

from semantic_cache.gates.base import GateVerdict
from semantic_cache.gates.entities import entities
from semantic_cache.gates.language import language
from semantic_cache.gates.literals import literals
from semantic_cache.gates.negation import negation
from semantic_cache.gates.numbers import numbers
from semantic_cache.gates.order import order
from semantic_cache.gates.premises import premises
from semantic_cache.gates.roles import roles
from semantic_cache.gates.text import parse

GATES = (numbers, entities, literals, language, negation, order, roles, premises)


def check(a: str, b: str) -> tuple[GateVerdict, ...]:
    """Run the gates on two questions up to the first that refuses. A gate that raises has refused."""
    left, right = parse(a), parse(b)
    verdicts = []
    for gate in GATES:
        try:
            verdict = gate(left, right)
        except (ValueError, ArithmeticError, LookupError, RecursionError) as error:
            verdict = GateVerdict(gate.__name__, False, f"{type(error).__name__}")
        verdicts.append(verdict)
        if not verdict.passed:
            break
    return tuple(verdicts)
