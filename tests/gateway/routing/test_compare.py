"""Two answers agree if whoever got one of them knows what the other says."""

from __future__ import annotations

import json

import pytest

from gateway.routing.compare import Comparer, by_form
from tests.gateway.support.upstream import completion


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris.", "**paris**"),
        ('{"a": 1, "b": [2]}', '{"b": [2], "a": 1.0}'),
        ("7 * 8 = 56", "56, of course"),
        ("First 3 + 4 = 7. Then 7 * 8 = 56.\n#### 56", "The answer is $56.00."),
        ("It is \\boxed{1,200}", "1200"),
        ("(B) the liver", "The answer is B."),
        ("Yes, because it is warm.", "yes"),
        ("-4", "It is -4."),
    ],
)
def test_what_says_the_same_agrees(one: str, other: str) -> None:
    assert by_form(one, other) is True
    assert by_form(other, one) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7 * 8 = 56", "7 * 8 = 54"),
        ('{"a": 1}', '{"a": 2}'),
        ("A", "The correct answer is: (C)"),
        ("Yes.", "No, it is not."),
        ("4", "-4"),
        ("", "Paris"),
    ],
)
def test_what_says_something_else_does_not(one: str, other: str) -> None:
    assert by_form(one, other) is False
    assert by_form(other, one) is False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It is the capital of France.", "Paris, on the Seine."),
        ("A river runs through it.", "C is a language."),
        ("Rivers: 3 big and 4 small ones.", "7"),
        ("x " * 200 + "in 1989", "1989"),
        ("[not JSON", "[1]"),
    ],
)
def test_form_alone_does_not_always_tell(one: str, other: str) -> None:
    assert by_form(one, other) is None


def calling(*calls: tuple[str, str]) -> bytes:
    tools = [{"id": "c", "type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    message = {"role": "assistant", "content": None, "tool_calls": tools}
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode()


async def test_calls_of_tools_agree_if_they_do_the_same() -> None:
    comparer = Comparer(None, None)
    one = calling(("weather", '{"town": "Rome", "days": 2}'))

    assert await comparer.agree(one, calling(("weather", '{ "days":2, "town":"Rome" }'))) is True
    assert await comparer.agree(one, calling(("weather", '{"town": "Oslo"}'))) is False
    assert await comparer.agree(one, completion("It rains.")) is False


async def test_without_a_semantic_process_meanings_cannot_be_told() -> None:
    comparer = Comparer(None, None)

    assert await comparer.agree(completion("Paris, on the Seine"), completion("The capital")) is None
    assert await comparer.agree(completion("Paris!"), completion("paris")) is True
