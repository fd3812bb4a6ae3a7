"""The sum that a prompt asks for, done again: `What is 17 + 25?`, `How much is 6 times 7?`, `Add 3 and 9.`

Only a prompt that holds one calculation and no other number is read so: in a story the numbers belong to it.
"""

from __future__ import annotations

import re

from router.after.arithmetic import evaluate
from router.after.numbers import NUMBER, numbers_in, same

_LONGEST = 200
"""Characters of a prompt that can be a bare sum."""
_WORDED = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "multiplied by": "*",
    "divided by": "/",
    "over": "/",
}
_OPERATOR = r"\s{0,3}(?:[-+*/x×÷−]|" + "|".join(_WORDED) + r")\s{0,3}"
_EXPRESSION = re.compile(rf"-?(?:{NUMBER})(?:{_OPERATOR}(?:{NUMBER})){{1,6}}", re.IGNORECASE)
_ADD = re.compile(
    rf"\b(?:add|sum of)\s{{1,3}}({NUMBER})\s{{1,3}}(?:and|to)\s{{1,3}}({NUMBER})", re.IGNORECASE
)
# What stands right before it; else "in 2019-2020" would be a sum.
_ASKS = re.compile(
    r"\b(?:what is|what's|how much is|calculate|compute|evaluate|solve)\s{0,3}:?\s{0,3}$", re.IGNORECASE
)
_RESULT = re.compile(rf"=\s{{0,3}}(-?(?:{NUMBER}))")


def asked_sum_signs(prompt: str, answer: str) -> dict[str, float]:
    """Return `asked_sum`: 1 if the answer ends in the sum's result, -1 if not, 0 if the prompt is no sum."""
    value = asked_sum(prompt)
    if value is None:
        return {"asked_sum": 0.0}
    stated = [float(number.replace(",", "")) for number in _RESULT.findall(answer)] or numbers_in(answer)
    # Signs are not read in prose: "the answer is -3" states 3.
    right = bool(stated) and (same(stated[-1], value) or same(abs(stated[-1]), abs(value)))
    return {"asked_sum": 1.0 if right else -1.0}


def asked_sum(prompt: str) -> float | None:
    """Return the result of the sum that the prompt is; None if it is none, or more than one."""
    if len(prompt) > _LONGEST:
        return None
    if (found := _ADD.search(prompt)) is not None:
        expression = f"{found[1]}+{found[2]}"
    elif (found := _EXPRESSION.search(prompt)) is not None:
        if _ASKS.search(prompt, 0, found.start()) is None and prompt[: found.start()].strip():
            return None
        expression = found[0].lower()
        for word, sign in _WORDED.items():
            expression = expression.replace(word, sign)
    else:
        return None
    if len(numbers_in(found[0])) != len(numbers_in(prompt)):
        return None
    return evaluate(expression)
