"""Streams the small model's answer while it is being judged, and takes it back if it will not do.

What the client sees, in this order:

1. the small model's chunks as they come, but for the one with a finish reason and what follows it;
2. if the answer stands: those;
3. if not: a comment and a chunk that take back everything so far, then another model's stream, whole.

The reset is a chunk like any other, with an empty delta: clients that do not know it go on, and show the
second answer behind the first. It carries no event name, since some of OpenAI's clients hand out named events
in another shape, and it comes only once the other answer has begun.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from gateway.answer import Answer, Events, EventStream
from gateway.errors import GatewayError
from gateway.exchange import Call, Exchange
from gateway.hops.held import Taken, broken_off
from gateway.wire.logprobs import events_without_logprobs
from gateway.wire.members import NotAnObject, members
from gateway.wire.splice import set_value, splice
from gateway.wire.sse import Event, comment_event, data_event
from gateway.wire.usage import DONE, read_reply

RESET = b"forebay.reset"

Judge = Callable[[str | None], Awaitable[bool]]
"""Tells whether the answer stands; the argument says why it was given up, if it was."""
GoOn = Callable[[], Awaitable[Answer]]
"""Returns the answer that comes instead."""


class Speculation:
    """One stream of that kind."""

    def __init__(
        self, ex: Exchange, twin: Exchange, answer: Answer, taken: Taken, *, own_logprobs: bool
    ) -> None:
        """`answer` is the small model's, a stream; `twin` made the call, `taken` observes it. With
        `own_logprobs` the client has asked for none."""
        self._ex = ex
        self._twin = twin
        self._now = answer
        self._taken = taken
        self._own_logprobs = own_logprobs
        self._call: Call | None = ex.calls[-1] if ex.calls else None

    def answer(self, judge: Judge, go_on: GoOn, ended: Callable[[], None]) -> Answer:
        """Return what the client gets; `ended` is called once nothing more is decided."""

        def close() -> None:
            self._now.close(self._ex.why_cancelled())
            self._twin.end()
            ended()

        stream = EventStream(self._events(judge, go_on, ended), close)
        return self._ex.keep(Answer(self._now.status, stream, dict(self._now.headers)))

    async def _events(self, judge: Judge, go_on: GoOn, ended: Callable[[], None]) -> AsyncIterator[Events]:
        last: Events = []
        given_up: str | None = None
        assert isinstance(self._now.body, EventStream)
        try:
            async for events in self._now.body:
                shown, last = _until_the_end(events, last)
                if (given_up := self._taken.given_up) is not None:
                    break
                if shown:
                    yield self._shown(shown)
        except GatewayError as error:
            given_up = f"it broke off ({type(error).__name__})"
        finally:
            self._now.close(None if given_up is None else broken_off(given_up))
            self._twin.end()
        if await judge(given_up):
            self._tell_observers()
            ended()
            yield self._shown(last)
            return
        self._now = following = await go_on()
        ended()
        if isinstance(following.body, bytes):
            # The head is out, so the error that another answer would have been is an event.
            yield [data_event(_in_a_line(following.body))]
            return
        yield [comment_event(RESET), self._reset()]
        async for events in following.body:
            yield [self._summed(event) for event in events]

    def _shown(self, events: Events) -> Events:
        return events_without_logprobs(events) if self._own_logprobs else events

    def _tell_observers(self) -> None:
        """Show the whole answer to those who observe the exchange: they see what stands, and nothing else."""
        events = self._shown(self._taken.events)
        for observer in self._ex.observers:
            observer.feed(events)
            observer.finish()
            observer.ended(None)

    def _reset(self) -> Event:
        call = self._call
        said: dict[str, Any] = {
            "id": None if call is None else call.outcome.id,
            "object": "chat.completion.chunk",
            "created": int(self._ex.created),
            "model": None if call is None else call.outcome.model,
            "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}],
            "forebay": {"event": "reset", "reason": self._ex.reason},
        }
        return data_event(msgspec.json.encode(said))

    def _summed(self, event: Event) -> Event:
        """Return a chunk with its usage, if it has one, raised by that of the answer which was taken back."""
        usage = None if self._call is None else self._call.outcome.usage
        if usage is None or event.data is None or b'"usage"' not in event.data:
            return event
        data = event.data
        try:
            spans = members(data)
            place = spans["usage"]
            theirs = msgspec.json.decode(data[place.start : place.end])
        except (NotAnObject, KeyError):
            return event
        if not isinstance(theirs, dict):
            return event
        total = usage.input_tokens + usage.output_tokens
        ours = {**msgspec.to_builtins(usage), "total_tokens": total}
        more = splice(data, [set_value(spans, "usage", _added(theirs, ours))])
        return data_event(more.replace(b"\n", b" "))


def _until_the_end(events: Events, last: Events) -> tuple[Events, Events]:
    """Return the events that may be shown now, and those that wait for the decision."""
    shown: Events = []
    for event in events:
        if last or _ends(event):
            last.append(event)
        else:
            shown.append(event)
    return shown, last


def _ends(event: Event) -> bool:
    data = event.data
    if data is None or data == DONE:
        return data == DONE
    return any(choice.finish_reason is not None for choice in read_reply(data).choices or ())


def _added(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    out = dict(theirs)
    for name, value in theirs.items():
        mine = ours.get(name)
        if isinstance(value, dict) and isinstance(mine, dict):
            out[name] = _added(value, mine)
        elif isinstance(value, int) and not isinstance(value, bool) and isinstance(mine, int):
            out[name] = value + mine
    return out


def _in_a_line(body: bytes) -> bytes:
    try:
        return msgspec.json.format(body, indent=-1)
    except msgspec.DecodeError:
        return msgspec.json.encode({"error": {"message": "The upstream failed.", "type": "server_error"}})
