"""Reads usage and the outcome off an answer, whole or streamed, without changing what the client is owed."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from gateway.answer import BrokenOff
from gateway.errors import UpstreamBroke, UpstreamGarbage
from gateway.wire.members import NotAnObject
from gateway.wire.splice import without_member
from gateway.wire.sse import UNFINISHED, Event

DONE = b"[DONE]"
_BYTES_PER_TOKEN = 4
_NOT_GENERATED = ("role", "id", "type", "index")


class PromptDetails(msgspec.Struct, frozen=True):
    """`cache_write_tokens` is OpenRouter's name for what some providers charge extra."""

    cached_tokens: int | None = 0
    cache_write_tokens: int | None = 0


class CompletionDetails(msgspec.Struct, frozen=True):
    """Parts of the completion."""

    reasoning_tokens: int | None = 0


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the upstream reports them; cached tokens are part of the prompt's."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt."""
        return self.prompt_tokens

    @property
    def output_tokens(self) -> int:
        """Tokens of the completion."""
        return self.completion_tokens or 0

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that the upstream had in its own cache."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens) or 0

    @property
    def cache_write_tokens(self) -> int:
        """Prompt tokens that the upstream charged for putting into its cache."""
        return (self.prompt_tokens_details and self.prompt_tokens_details.cache_write_tokens) or 0

    @property
    def reasoning_tokens(self) -> int:
        """Completion tokens that the client does not see."""
        return (self.completion_tokens_details and self.completion_tokens_details.reasoning_tokens) or 0


class Choice(msgspec.Struct, frozen=True):
    """One choice of an answer or of a chunk."""

    finish_reason: str | None = None


class CountedChoice(Choice, frozen=True):
    """The same with its content, which has one of three names."""

    delta: Any = None
    message: Any = None
    text: Any = None


class Reply(msgspec.Struct, frozen=True):
    """What is read of a whole answer or of one chunk of a stream."""

    id: str | None = None
    model: str | None = None
    choices: tuple[Choice, ...] | None = None
    usage: Usage | None = None
    error: Any = None


class CountedReply(Reply, frozen=True):
    """What is read if the answer's tokens have to be counted."""

    choices: tuple[CountedChoice, ...] | None = None

    def tokens(self) -> int:
        """Return an estimate: four bytes a token, and one at least for each choice that has content."""
        total = 0
        for choice in self.choices or ():
            size = _size(choice.delta) + _size(choice.message) + _size(choice.text)
            total += -(-size // _BYTES_PER_TOKEN)
        return total


class Outcome:
    """What is known of an upstream's answer; grows while a stream runs."""

    __slots__ = ("counted", "done", "failed", "finish_reasons", "first_chunk_s", "id", "model", "usage")

    def __init__(self) -> None:
        self.id: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.counted = 0
        """Tokens of the answer by our own count, if it was to be counted."""
        self.finish_reasons: list[str] = []
        self.first_chunk_s: float | None = None
        """When the first chunk with a choice came, on the monotonic clock."""
        self.failed = False
        """The answer holds an error object, as servers send them inside a stream."""
        self.done = False
        """The upstream said itself that this was all: a finish reason, `[DONE]` or an error event."""

    def take(self, reply: Reply) -> None:
        """Add what one answer or chunk says."""
        self.id = self.id or reply.id
        self.model = self.model or reply.model
        if reply.usage is not None:
            self.usage = reply.usage
        for choice in reply.choices or ():
            if choice.finish_reason is not None:
                self.finish_reasons.append(choice.finish_reason)
                self.done = True
        if reply.error is not None:
            self.done = self.failed = True
        if isinstance(reply, CountedReply):
            self.counted += reply.tokens()


_DECODE = msgspec.json.Decoder(Reply).decode
_DECODE_COUNTED = msgspec.json.Decoder(CountedReply).decode
UNREAD = Reply()
"""Stands for JSON of an unknown shape, which is passed on as it is."""


def read_reply(body: bytes, *, count: bool = False) -> Reply:
    """Return what an answer or chunk says. Raises UpstreamGarbage if it is not JSON.

    JSON of an unknown shape says nothing to us and is none of our business.
    """
    try:
        return _DECODE_COUNTED(body) if count else _DECODE(body)
    except msgspec.ValidationError:
        return UNREAD
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamGarbage("The upstream sent something that is not JSON.") from None


def read_answer(body: bytes, *, count: bool) -> Reply:
    """Do the same for a whole answer, and count its tokens only if it does not say their number."""
    reply = read_reply(body)
    return read_reply(body, count=True) if count and reply.usage is None else reply


class UsageTap:
    """Fills an `Outcome` from a stream, and takes out the usage that was asked for on our own account.

    That is the closing chunk with usage and no choices, and the `"usage": null` that all others then carry.
    """

    __slots__ = ("_count", "_outcome", "_remove")

    def __init__(self, outcome: Outcome, *, remove: bool, count: bool = False) -> None:
        self._outcome = outcome
        self._remove = remove
        self._count = count

    def feed(self, events: list[Event]) -> list[Event]:
        passed: list[Event] = []
        for event in events:
            try:
                if (kept := self._one(event)) is not None:
                    passed.append(kept)
            except UpstreamGarbage as error:
                raise BrokenOff(passed, error) from None
        return passed

    def _one(self, event: Event) -> Event | None:
        data = event.data
        if data is None:
            # Half an event would swallow the error event that follows it.
            return None if event.type == UNFINISHED and not self._outcome.done else event
        if data == DONE:
            self._outcome.done = True
            return event
        if event.type != "message" and event.type != "error":
            return event
        reply = read_reply(data, count=self._count)
        if reply is UNREAD:
            return event
        self._outcome.take(reply)
        if reply.choices and self._outcome.first_chunk_s is None:
            self._outcome.first_chunk_s = time.monotonic()
        if self._remove and b'"usage"' in data:
            if not reply.choices and reply.usage is not None:
                return None
            if reply.usage is None:
                return _without_usage(event, data)
        return event

    def finish(self) -> list[Event]:
        """A stream that stops without saying so was cut, even if the connection closed in good order."""
        if not self._outcome.done:
            raise UpstreamBroke("The upstream's stream ended before the answer was complete.")
        return []

    def ended(self, error: BaseException | None) -> None:
        """Nothing is held."""


def _size(value: Any) -> int:
    """Return the bytes of text in what a model generated: content, reasoning, refusals, calls of tools."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum([_size(inner) for name, inner in value.items() if name not in _NOT_GENERATED])
    if isinstance(value, list):
        return sum([_size(inner) for inner in value])
    return 0


def _without_usage(event: Event, data: bytes) -> Event:
    tail = b',"usage":null}'
    # The last brace closes the object itself, so this is a member of its own and not part of a text.
    try:
        smaller = data[: -len(tail)] + b"}" if data.endswith(tail) else without_member(data, "usage")
    except NotAnObject:
        return event
    return Event(event.raw.replace(data, smaller, 1), smaller, event.type, event.id)
