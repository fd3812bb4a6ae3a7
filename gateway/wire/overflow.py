"""Tells from an upstream's error that a prompt was too long for its model, and how long it may be.

There is no standard: OpenAI has a code, llama.cpp a type with numbers beside it, all others a sentence. The
patterns are of the servers' own messages as of November 2026.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

STATUSES = (400, 413, 422)
CODE = "context_length_exceeded"
_CODES = (CODE, "exceed_context_size_error", "context_window_exceeded")
_NUMBER = r"(?P<{}>\d[\d,]*)"
_WINDOW, _TOKENS = _NUMBER.format("window"), _NUMBER.format("tokens")
_SENTENCES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI, vLLM, SGLang and the bundled engine.
        rf"(?:maximum context length|KV cache) (?:is|of) {_WINDOW}",
        # Anthropic, and what is made of it.
        rf"prompt is too long: {_TOKENS} tokens? > {_WINDOW}",
        rf"exceed context limit: {_TOKENS} \+ \d+ > {_WINDOW}",
        # llama.cpp.
        rf"(?:request|prompt) \({_TOKENS} tokens\) exceeds the available context size \({_WINDOW}",
        r"exceeds the available context size",
        # vLLM and SGLang, before they begin.
        rf"\((?:length )?{_TOKENS}(?: tokens)?\) is longer than the (?:maximum model length of |"
        rf"model's context length \(){_WINDOW}",
        # TGI.
        rf"must have less than {_WINDOW} tokens\. Given: {_TOKENS}",
        rf"`max_new_tokens` must be <= {_WINDOW}\. Given: {_TOKENS}",
        # Gemini, Mistral, Bedrock, and gateways that say it in their own words.
        rf"input token count \(?{_TOKENS}\)? exceeds the maximum number of tokens allowed \(?{_WINDOW}",
        rf"{_WINDOW} maximum context length",
        r"input is too long for requested model",
        r"exceeds? (?:the |this )?(?:model'?s )?(?:context window|maximum context length|context length)",
        r"reduce the length of (?:the|your) (?:messages|prompt|input)",
    )
)
_PROMPT = re.compile(
    r"(?P<tokens>\d[\d,]*) (?:in the (?:messages|prompt)|input tokens|tokens from the input)|"
    r"(?:resulted in|your (?:request|prompt) has|contains) (?P<more>\d[\d,]*) (?:input )?tokens",
    re.IGNORECASE,
)
_MOST_TEXT = 4096


class _Error(msgspec.Struct):
    message: Any = None
    code: Any = None
    type: Any = None
    n_ctx: Any = None
    n_prompt_tokens: Any = None


class _Body(msgspec.Struct):
    """OpenAI's shape, a plain text in its place, or the same fields without anything round them."""

    error: Any = None
    message: Any = None
    detail: Any = None


_DECODE = msgspec.json.Decoder(_Body).decode


@dataclass(frozen=True, slots=True)
class Overflow:
    """An upstream's word that a prompt did not fit."""

    message: str
    window: int | None
    """Tokens that prompt and answer may have together, if it says so."""
    tokens: int | None
    """Tokens of the prompt, if it says so."""


def overflow_of(status: int, body: bytes) -> Overflow | None:
    """Return what an error says of the window; None if it is about something else."""
    if status not in STATUSES:
        return None
    try:
        said = _DECODE(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    error = _error(said)
    message = error.message[:_MOST_TEXT] if isinstance(error.message, str) else ""
    found = next((match for pattern in _SENTENCES if (match := pattern.search(message))), None)
    if found is None and error.code not in _CODES and error.type not in _CODES:
        return None
    numbers = {} if found is None else found.groupdict()
    window = _count(error.n_ctx) or _count(numbers.get("window"))
    tokens = _count(error.n_prompt_tokens) or _count(numbers.get("tokens")) or _prompt(message)
    return Overflow(message, window, tokens)


def _error(said: _Body) -> _Error:
    if isinstance(said.error, dict):
        return msgspec.convert(said.error, _Error)
    for text in (said.error, said.message, said.detail):
        if isinstance(text, str):
            return _Error(text)
    return _Error()


def _prompt(message: str) -> int | None:
    found = _PROMPT.search(message)
    return None if found is None else _count(found["tokens"] or found["more"])


def _count(value: object) -> int | None:
    if isinstance(value, str):
        value = int(value.replace(",", ""))
    return value if isinstance(value, int) and 0 < value < 10**9 else None
