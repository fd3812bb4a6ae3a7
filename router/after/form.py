"""Whether an answer has the form that was asked for, whatever it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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
_MOST_STEPS = 20_000
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

    Of a schema is checked what `fits` checks; an answer that breaks others of its rules passes.
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
    return "valid" if fits(value, schema) else "invalid"


def fits(value: Any, schema: Any) -> bool:
    """Return whether a JSON value breaks none of the rules of a JSON Schema that are known here.

    These are type, required, properties, additionalProperties, items, enum, const, minimum, maximum,
    minLength, maxLength, minItems, maxItems, anyOf, oneOf (as anyOf), allOf, and `$ref` within the schema. A
    schema that is none itself is fitted by all: that is for the upstream to say. So is what lies beyond more
    steps than any sensible schema takes: two references to itself would double them with each level.
    """
    try:
        return _fits(value, schema, schema, 0, iter(range(_MOST_STEPS)))
    except (TypeError, AttributeError):
        return True


def _fits(value: Any, schema: Any, root: Any, depth: int, steps: Iterator[int]) -> bool:
    if schema is False:
        return False
    if not isinstance(schema, Mapping) or depth > 50 or next(steps, None) is None:
        return True
    if isinstance(ref := schema.get("$ref"), str):
        return _fits(value, _found(root, ref), root, depth + 1, steps)
    for name in ("anyOf", "oneOf"):
        ways = schema.get(name)
        if isinstance(ways, list) and not any(_fits(value, way, root, depth + 1, steps) for way in ways):
            return False
    ways = schema.get("allOf")
    if isinstance(ways, list) and not all(_fits(value, way, root, depth + 1, steps) for way in ways):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "type" in schema and not _is_of(value, schema["type"]):
        return False
    if not all(_within(value, schema, *bound) for bound in _BOUNDS):
        return False
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if any(name not in value for name in schema.get("required", ())):
            return False
        others = schema.get("additionalProperties")
        return all(_fits(value[name], known.get(name, others), root, depth + 1, steps) for name in value)
    if isinstance(value, list) and "items" in schema:
        return all(_fits(item, schema["items"], root, depth + 1, steps) for item in value)
    return True


_BOUNDS: tuple[tuple[str, str, type | tuple[type, ...]], ...] = (
    ("minimum", "maximum", (int, float)),
    ("minLength", "maxLength", str),
    ("minItems", "maxItems", list),
)


def _within(value: Any, schema: Mapping[str, Any], least: str, most: str, kind: Any) -> bool:
    if not isinstance(value, kind) or isinstance(value, bool):
        return True
    size = len(value) if isinstance(value, str | list) else value
    low, high = schema.get(least), schema.get(most)
    too_small = isinstance(low, int | float) and size < low
    return not too_small and not (isinstance(high, int | float) and size > high)


def _found(root: Any, ref: str) -> Any:
    """Return what a reference within the schema leads to; None, which all fits, if it leads elsewhere."""
    if ref == "#":
        return root
    if not ref.startswith("#/"):
        return None
    at = root
    for name in ref[2:].split("/"):
        at = at.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
    return at


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
