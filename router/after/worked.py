"""What a worked solution shows of itself: is its arithmetic right, and does it use what was given?

Signs of a solution that went astray: given numbers that it never uses, numbers from nowhere, results that
nothing uses, parts of things that come whole. Length counts too: more steps, more chances to slip.
"""

from __future__ import annotations

import math
import re

from router.after.arithmetic import Calculation, calculations, without_marks
from router.after.numbers import numbers_in, same, worded_in

# Usual in sums without being given: halves, doubles, percentages.
_COMMON = (1.0, 2.0, 100.0)
# Numbers that are looked at: every one is compared with every other.
_MOST = 150


def worked_signs(prompt: str, answer: str) -> dict[str, float]:
    """Return the signs of an answer by name; of one that calculates nothing only that, and its length."""
    steps = calculations(answer)
    form = {
        "no_sums": float(not steps),
        "log_length": math.log1p(len(answer)),
        "lines": min(20.0, answer.count("\n") + 1.0),
    }
    # Elsewhere it says nothing whether a given number was used, or the last one is whole.
    return form | _calculated(prompt, answer, steps) if steps else form


def _calculated(prompt: str, answer: str, steps: list[Calculation]) -> dict[str, float]:
    known = set(numbers_in(prompt)[:_MOST])
    prose = without_marks(answer)
    results = [step.stated for step in steps]
    operands = [value for step in steps for value in step.operands]
    stated = numbers_in(prose)
    final = stated[-1] if stated else None
    sources = _sources(steps, known, worded_in(prompt))
    used = {value for value in known if value in operands}
    unused = known - used
    again = [source == "result" for source in sources]
    chaining = [_uses_earlier(steps, place) for place in range(1, len(steps))]
    operators = {sign for step in steps for sign in re.findall(r"[+*/-]", step.expression)}
    return {
        "wrong_sums": min(3.0, sum(not step.right for step in steps)),
        "sums": min(10.0, len(steps)),
        "from_nowhere": min(4.0, sum(source == "nowhere" for source in sources)),
        "unused_given": min(6.0, len(unused)),
        "unmentioned_given": min(6.0, sum(not _among(value, stated[:_MOST]) for value in unused)),
        "given_used": len(used) / max(1, len(known)),
        "given": min(12.0, len(known)),
        "dead_results": min(4.0, sum(not _among(value, operands) for value in results[:-1])),
        "chained": sum(again) / max(1, len(sources)),
        "last_uses_result": float(bool(chaining) and chaining[-1]),
        "steps_that_chain": sum(chaining) / max(1, len(chaining)),
        "given_used_again": min(5.0, sum(value in known for value in operands) - len(used)),
        "parts": min(4.0, sum(not _whole(value) for value in results)),
        "negative_result": float(any(value < 0 for value in results)),
        "repeated_sum": float(len({step.expression for step in steps}) < len(steps)),
        "final_in_part": float(final is not None and not _whole(final)),
        "final_is_last_result": float(bool(results) and final is not None and same(final, results[-1])),
        "final_was_given": float(final in known),
        "final_size": math.log1p(abs(final)) if final is not None else 0.0,
        "subtracts": float(any("-" in step.expression for step in steps)),
        "divides": float(any("/" in step.expression for step in steps)),
        "kinds_of_operator": float(len(operators)),
        "operands_per_sum": len(operands) / len(steps),
    }


def _sources(steps: list[Calculation], given: set[float], worded: set[float]) -> list[str]:
    """Say for each operand where it came from: given, an earlier result, in words, or nowhere."""
    shares = {round(form, 6) for each in given for form in (each / 100, 1 - each / 100, 100 - each)}
    found = []
    results: list[float] = []
    for step in steps:
        for value in step.operands:
            if value in given:
                found.append("given")
            elif _among(value, results):
                found.append("result")
            elif value in worded or value in _COMMON or round(value, 6) in shares:
                found.append("worded")
            else:
                found.append("nowhere")
        results.append(step.stated)
    return found


def _uses_earlier(steps: list[Calculation], place: int) -> bool:
    results = [step.stated for step in steps[: max(0, place)]]
    return bool(results) and any(_among(value, results) for value in steps[place].operands)


def _among(value: float, others: list[float]) -> bool:
    return any(abs(value - other) < 0.01 for other in others)


def _whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6
