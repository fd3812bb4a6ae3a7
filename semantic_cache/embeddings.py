"""Answers of the embeddings endpoint, cut into one stored answer per input item and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from semantic_cache.errors import NotReplayable


class _Item(msgspec.Struct, omit_defaults=True):
    index: int
    embedding: msgspec.Raw
    object: str = ""


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    total_tokens: int = 0


class _List(msgspec.Struct):
    data: list[_Item]
    model: str
    usage: _Usage | None = None


class _Part(msgspec.Struct):
    model: str
    embedding: msgspec.Raw
    tokens: int | None


class _Tokens(msgspec.Struct):
    tokens: int | None


_DECODE_LIST = msgspec.json.Decoder(_List).decode
_DECODE_PART = msgspec.json.Decoder(_Part).decode
_DECODE_TOKENS = msgspec.json.Decoder(_Tokens).decode
_ENCODE = msgspec.json.Encoder().encode


def split_embeddings(body: bytes, weights: Sequence[int]) -> list[bytes]:
    """Return one `Entry.answer` per input item, in the order of the items.

    A server counts the tokens of all items together. They are shared out by `weights`, such as the items'
    lengths: exact for one item, otherwise only in sum. Raises NotReplayable.
    """
    try:
        answer = _DECODE_LIST(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotReplayable("malformed") from None
    items = {item.index: item.embedding for item in answer.data}
    if len(answer.data) != len(weights) or set(items) != set(range(len(weights))):
        raise NotReplayable("incomplete")
    if any(bytes(embedding) in (b"null", b"[]", b'""') for embedding in items.values()):
        raise NotReplayable("empty")
    tokens: list[int] | list[None] = [None] * len(weights)
    if answer.usage is not None:
        tokens = _share(answer.usage.prompt_tokens, weights)
    return [_ENCODE(_Part(answer.model, items[index], counted)) for index, counted in enumerate(tokens)]


def join_embeddings(parts: Sequence[bytes]) -> bytes:
    """Return the whole answer of one or more items' stored answers; vectors keep their own bytes.

    Without token counts for every item there is no usage in it.
    """
    items = [_DECODE_PART(part) for part in parts]
    answer: dict[str, object] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": item.embedding}
            for index, item in enumerate(items)
        ],
        "model": items[-1].model,
    }
    tokens = [item.tokens for item in items if item.tokens is not None]
    if len(tokens) == len(items):
        answer["usage"] = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
    return _ENCODE(answer)


def tokens_of(part: bytes) -> int | None:
    """Return the tokens of one item's stored answer, if they were counted."""
    return _DECODE_TOKENS(part).tokens


def _share(total: int, weights: Sequence[int]) -> list[int]:
    """Return whole shares of `total` that add up to it (largest remainders)."""
    whole = max(1, sum(weights))
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: -(total * weights[place] % whole))
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares
