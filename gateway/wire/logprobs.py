"""Asks for token probabilities on the gateway's own account, and takes them out of the answer again."""

from __future__ import annotations

import msgspec

from gateway.answer import Events
from gateway.wire.elements import NotAnArray, elements
from gateway.wire.members import Member, NotAnObject, members
from gateway.wire.splice import Edit, splice
from gateway.wire.sse import Event, data_event

TOP = 5
"""Alternatives for each token: what every server that gives any gives (OpenAI allows 20, some only 5)."""

_NAME = b'"logprobs"'
_UNSAID = (b"null", b"false")


def ask_for_logprobs(body: bytes, spans: dict[str, Member]) -> list[Edit]:
    """Return the edits that make a chat's answer carry token probabilities; [] if the client asks himself, or
    says something that is the upstream's to refuse."""
    wish, top = spans.get("logprobs"), spans.get("top_logprobs")
    if wish is not None and body[wish.start : wish.end] not in _UNSAID:
        return []
    if top is not None and body[top.start : top.end] != b"null":
        return []
    edits = []
    added = b""
    for name, place, value in (("logprobs", wish, b"true"), ("top_logprobs", top, b"%d" % TOP)):
        if place is None:
            added += b',"%b":%b' % (name.encode(), value)
        else:
            edits.append(Edit(place.start, place.end, value))
    if added:
        # Behind the last member: there is one at least, as a request names its model.
        end = max(member.end for member in spans.values())
        edits.append(Edit(end, end, added))
    return edits


def without_logprobs(answer: bytes) -> bytes:
    """Return an answer or chunk whose choices have `"logprobs": null`, as servers write it unasked.

    Raises NotAnObject, NotAnArray if it has not the form of one.
    """
    choices = members(answer).get("choices")
    if choices is None:
        return answer
    edits = []
    for start, end in elements(answer[choices.start : choices.end]):
        at = choices.start + start
        place = members(answer[at : choices.start + end]).get("logprobs")
        if place is not None:
            edits.append(Edit(at + place.start, at + place.end, b"null"))
    return splice(answer, edits)


def events_without_logprobs(events: Events) -> Events:
    """Return a stream's events in the same way; what is no chunk stays as it is.

    A chunk that had nothing but probabilities (of a token that is no text yet) would not have come.
    """
    return [kept for event in events if (kept := _without(event)) is not None]


def _without(event: Event) -> Event | None:
    data = event.data
    if data is None or _NAME not in data:
        return event
    try:
        smaller = without_logprobs(data)
    except (NotAnObject, NotAnArray):
        return event
    if smaller == data:
        return event
    if _is_empty(smaller):
        return None
    if data not in event.raw:
        # Written in several lines; it has no type of its own, since it is a chunk.
        return data_event(smaller.replace(b"\n", b" "))
    return Event(event.raw.replace(data, smaller, 1), smaller, event.type, event.id)


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    delta: dict[str, msgspec.Raw]
    logprobs: None = None
    finish_reason: None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice]
    usage: None = None


_DECODE = msgspec.json.Decoder(_Chunk).decode


def _is_empty(chunk: bytes) -> bool:
    if b'"delta":{}' not in chunk and b'"delta": {}' not in chunk:
        return False
    try:
        return not any(choice.delta for choice in _DECODE(chunk).choices)
    except msgspec.DecodeError:
        return False
