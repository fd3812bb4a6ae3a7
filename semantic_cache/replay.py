"""From an entry back to an answer, whole or as a stream, as if it had just been given."""

from __future__ import annotations

from typing import Any

import msgspec

from semantic_cache.answer_shape import CHOICE_EXTRAS, KEPT, TEXTS, is_empty
from semantic_cache.assemble import DONE
from semantic_cache.entry import Entry
from telemetry.ids import new_id

# Simple clients read a stream by lines of at most 64 KiB; an escaped character takes up to 6 bytes.
_PIECE_CHARS = 8192
_DECODE = msgspec.json.Decoder().decode
_ENCODE = msgspec.json.Encoder().encode


def can_serve(entry: Entry, *, stream: bool, usage_wanted: bool) -> bool:
    """Return whether the entry has all that the caller asks for: token counts may be missing."""
    return entry.has_usage or (stream and not usage_wanted)


def replay_body(entry: Entry, now: float) -> bytes:
    """Return the answer's JSON with a fresh id; every other value has the bytes that were stored."""
    return b'{"id":"%s","created":%d,%s' % (_fresh_id(entry).encode(), now, entry.answer[1:])


def replay_events(entry: Entry, now: float, *, usage_wanted: bool) -> list[bytes]:
    """Return the data of the events of a stream with the same content, `[DONE]` included.

    Token counts are in it only if they are wanted (`stream_options.include_usage`); then every other chunk
    says null, as OpenAI's do.
    """
    answer = _DECODE(entry.answer)
    chat = entry.endpoint == "chat"
    head: dict[str, Any] = {
        "id": _fresh_id(entry),
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": int(now),
        **{name: answer[name] for name in KEPT if not is_empty(answer.get(name))},
    }
    tail = {"usage": None} if usage_wanted else {}
    events = [
        _ENCODE({**head, "choices": [part], **tail})
        for choice in answer["choices"]
        for part in (_chat_parts(choice) if chat else _text_parts(choice))
    ]
    if usage_wanted and (usage := answer.get("usage")) is not None:
        events.append(_ENCODE({**head, "choices": [], "usage": usage}))
    events.append(DONE)
    return events


def _chat_parts(choice: dict[str, Any]) -> list[dict[str, Any]]:
    index, message, logprobs = choice.get("index", 0), choice["message"], choice.get("logprobs")
    parts = [_chat_part(index, {"role": "assistant", "content": ""})]
    for name in TEXTS:
        text = message.get(name) or ""
        parts += [_chat_part(index, {name: piece}) for piece in _pieces(text)]
    if not is_empty(logprobs):
        # With the first piece of text; all lists are there together, as their order among pieces is lost.
        parts[1]["logprobs"] = logprobs
    parts.append({**_chat_part(index, {}), "finish_reason": choice["finish_reason"], **_extras(choice)})
    return parts


def _chat_part(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _text_parts(choice: dict[str, Any]) -> list[dict[str, Any]]:
    index = choice.get("index", 0)
    parts = [_text_part(index, piece) for piece in _pieces(choice["text"])]
    if not is_empty(logprobs := choice.get("logprobs")):
        parts[0]["logprobs"] = logprobs
    parts.append({**_text_part(index, ""), "finish_reason": choice["finish_reason"], **_extras(choice)})
    return parts


def _text_part(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": None}


def _extras(choice: dict[str, Any]) -> dict[str, Any]:
    return {name: choice[name] for name in CHOICE_EXTRAS if not is_empty(choice.get(name))}


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE_CHARS] for start in range(0, len(text), _PIECE_CHARS)]


def _fresh_id(entry: Entry) -> str:
    return f"{'chatcmpl' if entry.endpoint == 'chat' else 'cmpl'}-{new_id()}"
