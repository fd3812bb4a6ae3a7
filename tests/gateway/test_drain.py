from __future__ import annotations

import asyncio

from gateway.drain import Drain


async def request(drain: Drain, until: asyncio.Event, last_words: list[bool]) -> str:
    task = drain.enter()
    try:
        await until.wait()
    except asyncio.CancelledError:
        last_words.append(drain.expired)
        return "told"
    finally:
        drain.leave(task)
    return "finished"


async def test_with_nothing_running_it_is_over_at_once() -> None:
    drain = Drain()
    await drain.finish(3600)
    assert drain.draining and drain.expired


async def test_what_runs_may_finish() -> None:
    drain, until = Drain(), asyncio.Event()
    task = asyncio.create_task(request(drain, until, []))
    await asyncio.sleep(0)
    finishing = asyncio.create_task(drain.finish(3600))
    await asyncio.sleep(0)
    assert drain.draining and not drain.expired
    until.set()
    await finishing
    assert task.result() == "finished"


async def test_what_does_not_finish_is_cancelled_and_knows_why() -> None:
    drain, last_words = Drain(), []
    task = asyncio.create_task(request(drain, asyncio.Event(), last_words))
    await asyncio.sleep(0)
    await drain.finish(0.01)
    assert task.result() == "told" and last_words == [True]
