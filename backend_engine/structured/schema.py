"""JSON schemas as grammars: how the JSON is spaced, and which part of a schema cannot be enforced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

Schema = dict[str, Any]


class Checker(Protocol):
    """The grammar library, as far as judging a schema in JSON text goes."""

    def complaint(self, schema: str) -> str:
        """Return what is wrong with `schema`, "" if nothing is."""
        ...

    def accepts(self, schema: str, text: str) -> bool:
        """Tell whether `text` satisfies `schema`."""
        ...


# At most one space after a comma or colon: a model that may write any white space can write it for ever.
# Without \u escapes no lone surrogate can be spelled, which strict JSON parsers refuse; every character but
# a few control characters has another spelling.
_STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
    "json_allowed_escapes": 'nrbtf\\"',
    "lenient": False,
    "coerce_one_of": False,
}
_STYLE_KEY = "x-guidance"
_DEFINITIONS = ("$defs", "definitions")
_ONE = ("items", "additionalProperties")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
# Definitions first: a fault behind a reference shows wherever it is referred to.
_MAPS = (*_DEFINITIONS, "properties", "patternProperties")

_EXCLUSIVE = ("exclusiveMinimum", "exclusiveMaximum")
_BOUNDS = (*_EXCLUSIVE, "minimum", "maximum")

# The days that there are, from the year 1 on: llguidance 1.9 takes any February for a leap year's, and knows
# a year 0, which date parsers refuse.
_YEAR = "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_FOURTH = "(0[48]|[2468][048]|[13579][26])"
_REAL_DATE = (
    f"^({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|([0-9]{{2}}{_FOURTH}|{_FOURTH}00)-02-29)"
)
_DATED = ("date", "date-time")

ANY_OBJECT: Schema = {"type": "object"}


def styled(schema: Schema) -> str:
    """Return `schema` as JSON text with our spacing rules in it, in place of any the caller put there."""
    return json.dumps({**with_real_dates(schema), _STYLE_KEY: _STYLE})


def with_real_dates(schema: Schema) -> Schema:
    """Return `schema` with every date in it held to the calendar."""
    dated = schema.get("format") in _DATED and not schema.keys() & {"enum", "const"}
    schema = dict(schema)
    if dated and isinstance(others := schema.get("allOf", []), list):
        schema["allOf"] = [*others, {"pattern": _REAL_DATE}]
    for key in _MAPS:
        if isinstance(members := schema.get(key), dict):
            schema[key] = {name: _with_real_dates(part) for name, part in members.items()}
    for key in _ONE:
        if key in schema:
            schema[key] = _with_real_dates(schema[key])
    for key in _LISTS:
        if isinstance(parts := schema.get(key), list):
            schema[key] = [_with_real_dates(part) for part in parts]
    return schema


def _with_real_dates(part: Any) -> Any:
    return with_real_dates(part) if isinstance(part, dict) else part


def faulty_part(schema: Schema, checker: Checker) -> tuple[str, str] | None:
    """Return the path and the fault of the innermost part of `schema` that cannot be enforced, if any.

    The library names a keyword but not its place, so the parts are tried one by one.
    """
    for path, part in _walk(schema, ""):
        if (reason := _unenforced(part, checker)) is not None:
            return path, reason
    reason = checker.complaint(styled(schema))
    if not reason:
        return None
    definitions = {key: schema[key] for key in _DEFINITIONS if key in schema}
    path, part = "", schema
    while True:
        for name, child in _children(part):
            # A part that is sound by itself is not at fault, whatever the definitions say.
            if checker.complaint(styled(child)) and (
                checker.complaint(styled({**definitions, **child})) == reason
            ):
                path, part = f"{path}.{name}" if path else name, child
                break
        else:
            return path, reason


def _unenforced(schema: Schema, checker: Checker) -> str | None:
    """Return what the library takes but does not hold answers to."""
    least = schema.get("minProperties")
    # Free keys may repeat in the text, and a repeated key counts once when it is parsed.
    if isinstance(least, int) and least > len(schema.get("required") or ()) + 1:
        return f"minProperties {least} needs that many distinct keys, and only those in 'required' are sure"
    # llguidance 1.9 lets the bound itself through where both bounds lie between the same two integers.
    for key in _EXCLUSIVE:
        bound = schema.get(key)
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            bounds = {key: schema[key] for key in _BOUNDS if key in schema}
            if any(checker.accepts(styled({"type": "number", **bounds}), text) for text in _spellings(bound)):
                return f"{key} {bound} would let {bound} itself pass"
    return None


def _spellings(bound: float) -> set[str]:
    texts = {str(bound), str(float(bound))}
    return texts | {str(int(bound))} if float(bound).is_integer() else texts


def _walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in _children(schema):
        yield from _walk(child, f"{path}.{name}" if path else name)


def _children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the schemas directly inside `schema`, each with its place."""
    for key in _MAPS:
        if isinstance(members := schema.get(key), dict):
            yield from ((f"{key}.{name}", part) for name, part in members.items() if isinstance(part, dict))
    for key in _ONE:
        if isinstance(child := schema.get(key), dict):
            yield key, child
    for key in _LISTS:
        if isinstance(members := schema.get(key), list):
            yield from (
                (f"{key}[{at}]", child) for at, child in enumerate(members) if isinstance(child, dict)
            )
