"""Which parts of an answer the cache understands. What holds anything else is not stored, rather than cut.

The names are OpenAI's, and those that vLLM, SGLang, DeepSeek, Azure, OpenRouter and llama.cpp add to them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from semantic_cache.errors import NotReplayable

# Texts of a message that a stream sends in pieces under the same name, in the order a replay sends them.
TEXTS = ("reasoning_content", "reasoning", "refusal", "content")
# Said of the whole answer, and repeated in every chunk.
KEPT = ("model", "system_fingerprint", "service_tier", "provider", "prompt_filter_results")
# Of that one call: an id, times, padding against traffic analysis.
DROPPED = ("id", "created", "timings", "obfuscation")
# Said of a choice when it ends.
CHOICE_EXTRAS = ("stop_reason", "matched_stop", "native_finish_reason", "content_filter_results")

TOP = frozenset((*KEPT, *DROPPED, "object", "choices", "usage"))
MESSAGE = frozenset((*TEXTS, "role"))
_CHOICE = (*CHOICE_EXTRAS, "index", "finish_reason", "logprobs")
CHOICE = {
    "chat": frozenset((*_CHOICE, "message", "delta")),
    "completions": frozenset((*_CHOICE, "text")),
}
LOGPROBS = {
    "chat": ("content", "refusal"),
    "completions": ("tokens", "token_logprobs", "top_logprobs", "text_offset"),
}

_REASONS = {"tool_calls": "tool_calls", "function_call": "tool_calls", "audio": "audio", "error": "error"}


def is_empty(value: Any) -> bool:
    """Return whether a member says nothing: null, or an empty text, list or object."""
    return value is None or value == "" or value == [] or value == {}


def refuse_unknown(members: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise NotReplayable if a member that the cache does not understand holds something."""
    for name, value in members.items():
        if name not in known and not is_empty(value):
            raise NotReplayable(_REASONS.get(name, "unknown_field"))


def as_object(value: Any) -> dict[str, Any]:
    """Return a JSON object. Raises NotReplayable if it is something else."""
    if not isinstance(value, dict):
        raise NotReplayable("malformed")
    return value


def as_list(value: Any) -> list[Any]:
    """Return a JSON array. Raises NotReplayable if it is something else."""
    if not isinstance(value, list):
        raise NotReplayable("malformed")
    return value


def as_text(value: Any) -> str:
    """Return a text; null is an empty one. Raises NotReplayable if it is something else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NotReplayable("unknown_field")
    return value
