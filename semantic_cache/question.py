"""A request as the cache sees it: the parts that a scope is made of, and the question that is left.

Every member of the body ends up in exactly one part, members that nobody knows included, so two requests
with equal parts are the same request. Left out is only what does not change the answer: how it is sent
(`stream`, `stream_options`) and what the client says to the cache itself (`cache`).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from semantic_cache.canonical import decode, encode, refuse_duplicate_keys
from semantic_cache.errors import NotCanonical

Endpoint: TypeAlias = Literal["chat", "completions", "embeddings"]

_QUERY: dict[Endpoint, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}
_TOOLS = frozenset(("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"))
_FORMAT = frozenset(("response_format", "modalities", "audio", "verbosity", "encoding_format", "dimensions"))
# The model's name has a part of its own; the others are left out.
_ASIDE = frozenset(("model", "stream", "stream_options", "cache"))
_NOTHING = encode({})
_SYSTEM_ROLES = ("system", "developer")
# What stands in the history where a message belongs to another part. Messages are objects, these are not.
_SYSTEM_HERE, _QUERY_HERE = 0, 1
_NO_HISTORY = encode([_QUERY_HERE])


class Question(msgspec.Struct, frozen=True, gc=False):
    """The canonical parts of one request, and the few values that decide whether it may be cached."""

    endpoint: Endpoint
    model: str
    """The requested name."""
    system: bytes
    history: bytes
    """All messages before the last, and the places of those that belong to other parts."""
    tools: bytes
    format: bytes
    sampling: bytes
    """All other members, sampling parameters among them."""
    query: bytes
    """The last message, the prompt or the input."""
    choices: Any = None
    """`n` as the client gave it."""
    temperature: Any = None
    upstream_keeps: bool = False
    """The client asks the upstream to keep the completion (`store`), which a replay would not do."""
    cache: Any = None
    """LiteLLM's `cache` member."""

    @property
    def sampled(self) -> bool:
        """Whether asking again could give another answer by design: all but temperature 0."""
        return self.endpoint != "embeddings" and not (
            isinstance(self.temperature, int | float) and self.temperature == 0
        )


def read_question(endpoint: Endpoint, body: bytes) -> Question:
    """Return the parts of a request's body. Raises NotCanonical."""
    members = decode(body)
    if not isinstance(members, dict):
        raise NotCanonical("json")
    model = members.get("model")
    if not isinstance(model, str) or not model:
        raise NotCanonical("model")
    name = _QUERY[endpoint]
    if name not in members:
        raise NotCanonical(name)
    choices, temperature, keeps = members.get("n"), members.get("temperature"), members.get("store")
    system, history, query = _split(members.pop(name))
    aside = _take(members, _ASIDE)
    tools = encode(taken) if (taken := _take(members, _TOOLS)) else _NOTHING
    format = encode(taken) if (taken := _take(members, _FORMAT)) else _NOTHING
    sampling = encode(members)
    parts = (system, history, query, tools, format, sampling, encode(aside))
    # The name of the query's member is in none of the parts.
    refuse_duplicate_keys(body, 2 + sum([part.count(b'"') for part in parts]))
    return Question(
        endpoint,
        model,
        system,
        history,
        tools,
        format,
        sampling,
        query,
        choices,
        temperature,
        keeps not in (None, False),
        aside.get("cache"),
    )


def _take(members: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Take members out and return them."""
    if names.isdisjoint(members):
        return {}
    return {name: members.pop(name) for name in names & members.keys()}


def _split(value: Any) -> tuple[bytes, bytes, bytes]:
    """Return system part, history and query of a query member."""
    if not (isinstance(value, list) and value and {*map(type, value)} == {dict}):
        return b"[]", b"[]", encode(value)
    if len(value) == 1:
        return b"[]", _NO_HISTORY, encode(value[0])
    *earlier, last = value
    system, history = [], []
    for message in earlier:
        if message.get("role") in _SYSTEM_ROLES:
            system.append(message)
            history.append(_SYSTEM_HERE)
        else:
            history.append(message)
    history.append(_QUERY_HERE)
    return encode(system), encode(history), encode(last)


def items_of(question: Question) -> list[Question]:
    """Return an embeddings request as one question per input item, in their order. Raises NotCanonical.

    A single text and a list of that one text are the same item; so are tokens.
    """
    value = decode(question.query)
    if isinstance(value, str) or _is_tokens(value):
        value = [value]
    if not (
        isinstance(value, list)
        and value
        and (all(isinstance(item, str) for item in value) or all(map(_is_tokens, value)))
    ):
        raise NotCanonical("input")
    return [msgspec.structs.replace(question, query=encode(item)) for item in value]


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)
