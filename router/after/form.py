"""Whether an answer has the form that was asked for, whatever it says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Validity: TypeAlias = Literal["valid", "invalid", "not-asked"]

_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can(?:no|')t|cannot|do not|don't) "
    r"(?:help|assist|answer|provide|know|have enough)|as an ai\b|(?:not|isn't) enough information|"
    r"it is (?:not possible|impossible) to (?:say|tell|determine|answer))",
    re.IGNORECASE,
)
# A refusal comes first; further on the words may be part of an answer.
_HEAD = 240
_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}


def refuses(answer: str) -> bool:
    """Return whether the answer begins by saying that there will be none."""
    return _REFUSAL.search(answer[:_HEAD].replace("\u2019", "'")) is not None


def repetition(answer: str, size: int = 4) -> float:
    """Return the share of word sequences of `size` that stood there before: near 1 for a model in a loop."""
    words = answer.split()[:4000]
    sequences = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return 1 - len(set(sequences)) / len(sequences) if sequences else 0.0


def json_validity(answer: str, response_format: Mapping[str, Any] | None) -> Validity:
    """Return whether the answer is the JSON that OpenAI's `response_format` asked for.

    Of a schema the keywords type, required, properties, additionalProperties: false, items, enum and const
    are checked; an answer that breaks others passes.
    """
    kind = (response_format or {}).get("type")
    if kind not in ("json_object", "json_schema"):
        return "not-asked"
    # A client that asked for JSON cannot read it in a fence, so that counts as broken.
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return "invalid"
    if kind == "json_object":
        return "valid" if isinstance(value, dict) else "invalid"
    wrapper = (response_format or {}).get("json_schema")
    schema = wrapper.get("schema") if isinstance(wrapper, Mapping) else None
    return "valid" if _fits(value, schema, 0) else "invalid"


def _fits(value: Any, schema: Any, depth: int) -> bool:
    if not isinstance(schema, Mapping) or depth > 50:
        return True
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "type" in schema and not _is_of(value, schema["type"]):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if any(name not in value for name in schema.get("required", ())):
            return False
        if schema.get("additionalProperties") is False and any(name not in known for name in value):
            return False
        return all(_fits(value[name], known[name], depth + 1) for name in value if name in known)
    if isinstance(value, list) and "items" in schema:
        return all(_fits(item, schema["items"], depth + 1) for item in value)
    return True


def _is_of(value: Any, kinds: Any) -> bool:
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        # True is an int to Python and no number to JSON; 3.0 is an integer to JSON Schema.
        if isinstance(value, bool):
            if kind == "boolean":
                return True
        elif isinstance(value, _KINDS.get(kind, ())) or (
            kind == "integer" and isinstance(value, float) and value.is_integer()
        ):
            return True
    return False
