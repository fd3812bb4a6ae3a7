from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.answer import Answer, EventStream
from gateway.errors import HopFailed, InvalidRequest, UpstreamBroke
from gateway.exchange import Exchange
from gateway.pipeline import Next, OnFailure, Pipeline, Step
from gateway.wire.request import Endpoint

Run = Callable[[Exchange, Next], Awaitable[Answer]]
SOON = 0.02
FOREVER = 3600.0
OPEN, CLOSED = OnFailure.OPEN, OnFailure.CLOSED


class Scripted:
    """A hop that does what a test says."""

    def __init__(self, run: Run, name: str = "scripted") -> None:
        self.name = name
        self._run = run

    async def run(self, ex: Exchange, next: Next) -> Answer:
        return await self._run(ex, next)


class Last:
    """The end of the line; counts how often it is asked."""

    name = "last"

    def __init__(self, answer: Answer | None = None, error: Exception | None = None) -> None:
        self.calls = 0
        self.answer = answer or Answer(200, b"{}")
        self.error = error
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def run(self, ex: Exchange, next: Next) -> Answer:
        self.calls += 1
        self.entered.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return ex.keep(self.answer)


def exchange() -> Exchange:
    async def receive(limit: int) -> bytes:
        return b""

    return Exchange(Endpoint.CHAT, {}, receive)


async def through(run: Run, last: Last, rule: OnFailure = OPEN, deadline_s: float | None = SOON) -> Answer:
    return await Pipeline([Step(Scripted(run), rule, deadline_s), Step(last)]).run(exchange())


class Source:
    """An endless stream that notes when it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> list[object]:
        return []

    def close(self) -> None:
        self.closed = True


def streaming() -> tuple[Answer, Source]:
    source = Source()
    return Answer(200, EventStream(source, source.close)), source  # type: ignore[arg-type]


async def stall_before(ex: Exchange, next: Next) -> Answer:
    await asyncio.sleep(FOREVER)
    return await next(ex)


async def stall_after(ex: Exchange, next: Next) -> Answer:
    answer = await next(ex)
    await asyncio.sleep(FOREVER)
    return answer


async def raise_before(ex: Exchange, next: Next) -> Answer:
    raise KeyError("before")


async def raise_after(ex: Exchange, next: Next) -> Answer:
    await next(ex)
    raise KeyError("after")


BROKEN = [stall_before, stall_after, raise_before, raise_after]


async def test_hops_run_in_order_and_see_what_comes_back() -> None:
    seen: list[str] = []

    def hop(name: str) -> Step:
        async def run(ex: Exchange, next: Next) -> Answer:
            seen.append(f"{name} in")
            answer = await next(ex)
            seen.append(f"{name} out")
            return answer

        return Step(Scripted(run))

    await Pipeline([hop("a"), hop("b"), Step(Last())]).run(exchange())
    assert seen == ["a in", "b in", "b out", "a out"]


async def test_a_hop_may_answer_itself() -> None:
    async def answer_itself(ex: Exchange, next: Next) -> Answer:
        return Answer(203, b"{}")

    last = Last()
    assert (await through(answer_itself, last)).status == 203
    assert last.calls == 0


@pytest.mark.parametrize("run", BROKEN)
async def test_a_broken_hop_that_fails_open_is_as_if_it_were_not_there(run: Run) -> None:
    last = Last()
    assert await through(run, last, OPEN) is last.answer
    assert last.calls == 1


@pytest.mark.parametrize("run", BROKEN)
async def test_a_broken_hop_that_fails_closed_ends_the_request(run: Run) -> None:
    last = Last()
    with pytest.raises(HopFailed):
        await through(run, last, CLOSED)
    assert last.calls == (run in (stall_after, raise_after))


@pytest.mark.parametrize("run", [stall_after, raise_after])
async def test_an_answer_that_nobody_hands_on_is_closed(run: Run) -> None:
    answer, source = streaming()
    ex = exchange()
    steps = [Step(Scripted(run), CLOSED, SOON), Step(Last(answer))]
    with pytest.raises(HopFailed):
        await Pipeline(steps).run(ex)
    ex.end()
    assert source.closed


@pytest.mark.parametrize("rule", [OPEN, CLOSED])
async def test_the_deadline_does_not_run_while_the_next_hop_does(rule: OnFailure) -> None:
    last = Last()
    last.go_on.clear()

    async def run(ex: Exchange, next: Next) -> Answer:
        return await next(ex)

    task = asyncio.create_task(through(run, last, rule))
    await last.entered.wait()
    # Longer than the hop's own deadline, which is what is being shown.
    await asyncio.sleep(3 * SOON)
    last.go_on.set()
    assert await task is last.answer


async def test_what_is_left_of_the_deadline_counts_after_the_next_hop() -> None:
    """Several calls of `next` share one budget: a hop cannot renew its time by calling."""
    last = Last()
    entered = 0

    async def run(ex: Exchange, next: Next) -> Answer:
        nonlocal entered
        while True:
            entered += 1
            await next(ex)
            await asyncio.sleep(SOON / 4)

    assert await through(run, last, OPEN) is last.answer
    assert last.calls == entered


@pytest.mark.parametrize("rule", [OPEN, CLOSED])
@pytest.mark.parametrize("late", [False, True])
async def test_an_error_from_behind_passes_through_every_hop(rule: OnFailure, late: bool) -> None:
    error = UpstreamBroke("It broke off.")

    async def mistake_it_for_ours(ex: Exchange, next: Next) -> Answer:
        try:
            return await next(ex)
        except UpstreamBroke:
            if late:
                await asyncio.sleep(FOREVER)
            raise ValueError("while handling") from None

    last = Last(error=error)
    with pytest.raises(UpstreamBroke) as caught:
        await through(mistake_it_for_ours, last, rule)
    assert caught.value is error and last.calls == 1


async def test_a_hop_may_try_again_after_an_error_from_behind() -> None:
    last = Last(error=UpstreamBroke("once"))

    async def again(ex: Exchange, next: Next) -> Answer:
        try:
            return await next(ex)
        except UpstreamBroke:
            last.error = None
            return await next(ex)

    assert await through(again, last) is last.answer
    assert last.calls == 2


@pytest.mark.parametrize("rule", [OPEN, CLOSED])
async def test_a_refusal_is_the_callers_fault_whatever_the_rule(rule: OnFailure) -> None:
    async def refuse(ex: Exchange, next: Next) -> Answer:
        raise InvalidRequest("No.")

    last = Last()
    with pytest.raises(InvalidRequest):
        await through(refuse, last, rule)
    assert last.calls == 0


async def test_a_hop_that_ignores_its_deadline_can_not_call_on() -> None:
    """It swallows the cancellation and goes on; the request has left it behind by then."""
    last = Last()

    async def stubborn(ex: Exchange, next: Next) -> Answer:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            return await next(ex)
        raise AssertionError

    assert await through(stubborn, last, OPEN) is last.answer
    assert last.calls == 1


@pytest.mark.parametrize("rule", [OPEN, CLOSED])
@pytest.mark.parametrize("run", [stall_before, stall_after])
async def test_cancelling_the_request_is_not_a_failure(run: Run, rule: OnFailure) -> None:
    answer, source = streaming()
    last = Last(answer)
    began = asyncio.Event()

    async def noted(ex: Exchange, next: Next) -> Answer:
        began.set()
        return await run(ex, next)

    ex = exchange()
    task = asyncio.create_task(Pipeline([Step(Scripted(noted), rule), Step(last)]).run(ex))
    await (began if run is stall_before else last.entered).wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    ex.end()
    assert last.calls == (run is stall_after)
    assert source.closed == (run is stall_after)


async def test_cancelling_reaches_the_last_hop() -> None:
    last = Last()
    last.go_on.clear()

    async def run(ex: Exchange, next: Next) -> Answer:
        return await next(ex)

    task = asyncio.create_task(through(run, last))
    await last.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_hop_may_run_the_rest_in_a_task_that_outlives_it() -> None:
    """What single-flight does: the leader leaves, its flight goes on."""
    last = Last()
    last.go_on.clear()
    flights: list[asyncio.Task[Answer]] = []

    async def lead(ex: Exchange, next: Next) -> Answer:
        async def flight() -> Answer:
            return await next(ex)

        flights.append(asyncio.create_task(flight()))
        return await asyncio.shield(flights[0])

    task = asyncio.create_task(through(lead, last))
    await last.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    last.go_on.set()
    assert await flights[0] is last.answer


async def test_without_an_answer_the_request_fails() -> None:
    with pytest.raises(HopFailed):
        await Pipeline([]).run(exchange())
