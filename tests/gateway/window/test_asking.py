"""Many prompts at once: what fails is tried again, and nobody waits for nobody."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import ClientDisconnected, UpstreamBroke
from gateway.window.asking import ask_each
from gateway.window.base import CannotShorten


def silent(done: int, of: int) -> None:
    """Stands for somebody who does not look."""


async def test_answers_come_in_the_order_of_the_prompts() -> None:
    second = asyncio.Event()

    async def ask(prompt: str, tokens: int) -> str:
        if prompt == "first":
            await second.wait()
        second.set()
        return f"{prompt} {tokens}"

    told: list[tuple[int, int]] = []
    answers = await ask_each(ask, ["first", "second"], 7, lambda done, of: told.append((done, of)))
    assert answers == ["first 7", "second 7"] and told == [(1, 2), (2, 2)]


async def test_a_prompt_that_fails_is_sent_once_more() -> None:
    sent: list[str] = []

    async def ask(prompt: str, tokens: int) -> str:
        sent.append(prompt)
        if prompt == "bad" or sent.count(prompt) == 1:
            raise UpstreamBroke("it ended")
        return prompt

    good, bad = await ask_each(ask, ["good", "bad"], 1, silent)
    assert good == "good" and isinstance(bad, UpstreamBroke)
    assert sorted(sent) == ["bad", "bad", "good", "good"]


async def test_all_failing_raises_what_failed() -> None:
    async def ask(prompt: str, tokens: int) -> str:
        raise UpstreamBroke("it ended")

    with pytest.raises(UpstreamBroke):
        await ask_each(ask, ["one", "two"], 1, silent)


async def test_no_prompts_are_no_answers() -> None:
    async def ask(prompt: str, tokens: int) -> str:
        raise AssertionError

    assert await ask_each(ask, [], 1, silent) == []


async def test_a_client_that_left_ends_all_of_it_at_once() -> None:
    ended: list[str] = []

    async def ask(prompt: str, tokens: int) -> str:
        if prompt == "leaves":
            raise ClientDisconnected("it left")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(prompt)
        return ""

    with pytest.raises(ClientDisconnected):
        await ask_each(ask, ["waits", "leaves"], 1, silent)
    assert ended == ["waits"]


async def test_cancelling_who_waits_cancels_every_prompt() -> None:
    begun, ended = asyncio.Queue[str](), []

    async def ask(prompt: str, tokens: int) -> str:
        begun.put_nowait(prompt)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(prompt)
        return ""

    waiting = asyncio.create_task(ask_each(ask, ["one", "two"], 1, silent))
    await begun.get()
    await begun.get()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert sorted(ended) == ["one", "two"]


async def test_no_more_calls_being_allowed_ends_all_of_it_at_once() -> None:
    asked: list[str] = []

    async def ask(prompt: str, tokens: int) -> str:
        asked.append(prompt)
        raise CannotShorten("it takes more than 64 calls")

    with pytest.raises(CannotShorten, match="64 calls"):
        await ask_each(ask, ["one"], 1, silent)
    assert asked == ["one"]
