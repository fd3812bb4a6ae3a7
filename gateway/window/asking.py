"""Asks a model many things at once; what fails is tried once more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.errors import ClientDisconnected, Draining, GatewayError
from gateway.window.base import Ask, CannotShorten, Means

TRIES = 2


def enough_calls(prompts: int, means: Means) -> None:
    """Raise CannotShorten if so many prompts are more than can be asked: none would be of use."""
    if prompts > (left := means.calls_left()):
        raise CannotShorten(f"it takes {prompts} calls, and {left} are left")


async def ask_each(
    ask: Ask, prompts: Sequence[str], tokens: int, report: Callable[[int, int], None]
) -> list[str | GatewayError]:
    """Return the answers in the order of the prompts, and errors where there are none.

    `report` is told after each how many are done. Raises the last error if all fail, and at once if nobody
    waits any more.
    """
    answers: list[str | GatewayError] = [""] * len(prompts)
    done = 0

    async def one(place: int, prompt: str) -> None:
        nonlocal done
        answers[place] = await _tried(ask, prompt, tokens)
        done += 1
        report(done, len(prompts))

    try:
        async with asyncio.TaskGroup() as group:
            for place, prompt in enumerate(prompts):
                group.create_task(one(place, prompt))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    failed = [answer for answer in answers if isinstance(answer, GatewayError)]
    if failed and len(failed) == len(answers):
        raise failed[-1]
    return answers


async def _tried(ask: Ask, prompt: str, tokens: int) -> str | GatewayError:
    for _ in range(TRIES):
        try:
            return await ask(prompt, tokens)
        except (ClientDisconnected, Draining):
            raise
        except GatewayError as error:
            failure = error
    return failure
