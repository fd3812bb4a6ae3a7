"""Random JSON schemas with everything that callers nest: enum, pattern, $ref, oneOf, bounds, recursion."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

_NAMES = (
    "id",
    "name",
    "kind",
    "note",
    "größe",
    "unit price",
    "tags",
    "owner",
    "items",
    "due",
    "is_open",
    "x",
)
_WORDS = ("red", "green", "blue", 'quote"d', "back\\slash", "naïve", "日本", "", "two words", "tab\tbed")
_PATTERNS = (
    r"^[A-Z]{2,3}-\d{3,5}$",
    r"^(\+\d{1,3} )?\d{3}-\d{4}$",
    r"^#[0-9a-f]{6}$",
    r"^v\d+\.\d+(\.\d+)?(-(alpha|beta))?$",
    r"^[a-z][a-z0-9_]{0,7}$",
    r"^[^\s@]+@[a-z]+\.(com|org)$",
)
_FORMATS = ("date", "date-time", "time", "uuid", "ipv4", "email")


def random_schema(seed: int) -> Schema:
    """Return the schema number `seed`: an object with definitions, among them a recursive one."""
    chance = random.Random(seed)
    build = _Builder(chance)
    root = build.object(depth=3)
    root["$defs"] = {
        "Leaf": build.scalar(0),
        "Pair": {
            "type": "object",
            "properties": {"left": build.scalar(0), "right": build.scalar(0)},
            "required": ["left", "right"],
            "additionalProperties": False,
        },
        "Tree": {
            "type": "object",
            "properties": {
                "value": build.scalar(0),
                "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "maxItems": 2},
            },
            "required": ["value", "children"],
            "additionalProperties": False,
        },
    }
    return root


class _Builder:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def object(self, depth: int) -> Schema:
        names = self._chance.sample(_NAMES, self._chance.randint(1, 5))
        properties = {name: self.any(depth - 1) for name in names}
        out: Schema = {"type": "object", "properties": properties}
        out["required"] = [name for name in names if self._chance.random() < 0.8]
        extra = self._chance.random()
        if extra < 0.7:
            out["additionalProperties"] = False
        elif extra < 0.8:
            out["additionalProperties"] = self.scalar(0)
        elif extra < 0.9:
            out |= {"patternProperties": {"^ext_[a-z]{1,4}$": self.scalar(0)}, "additionalProperties": False}
        return out

    def any(self, depth: int) -> Schema:
        if depth <= 0:
            return self.scalar(depth)
        kinds: list[Callable[[int], Schema]] = [
            self.scalar,
            self.scalar,
            self.object,
            self.array,
            self.tuple,
            self.one_of,
            self.any_of,
            self.all_of,
            self.reference,
            self.map,
        ]
        return self._chance.choice(kinds)(depth)

    def scalar(self, depth: int) -> Schema:
        chance = self._chance
        return chance.choice(
            [
                lambda: {"type": "string"},
                lambda: {
                    "type": "string",
                    "minLength": chance.randint(0, 4),
                    "maxLength": chance.randint(4, 12),
                },
                lambda: {"type": "string", "pattern": chance.choice(_PATTERNS)},
                lambda: {"type": "string", "format": chance.choice(_FORMATS)},
                lambda: {"enum": chance.sample([*_WORDS, 1, 2.5, None, True, [1, "a"], {"k": 0}], 4)},
                lambda: {"type": "string", "enum": chance.sample(_WORDS, 3)},
                lambda: {"const": chance.choice([*_WORDS, 7, None, False])},
                lambda: {"type": "integer"},
                lambda: {
                    "type": "integer",
                    "minimum": chance.randint(-50, 5),
                    "maximum": chance.randint(6, 9999),
                },
                lambda: {"type": "integer", "multipleOf": chance.choice([2, 5, 7, 10]), "minimum": 0},
                lambda: {"type": "number", "exclusiveMinimum": 0, "maximum": chance.choice([1.5, 2, 100.25])},
                lambda: {"type": "number"},
                lambda: {"type": "boolean"},
                lambda: {"type": ["string", "null"], "maxLength": 9},
                lambda: {"type": ["integer", "boolean"], "minimum": -3, "maximum": 300},
            ]
        )()

    def array(self, depth: int) -> Schema:
        least = self._chance.randint(0, 2)
        return {
            "type": "array",
            "items": self.any(depth - 1),
            "minItems": least,
            "maxItems": least + self._chance.randint(0, 3),
        }

    def tuple(self, depth: int) -> Schema:
        members = [self.any(depth - 1) for _ in range(self._chance.randint(1, 3))]
        return {"type": "array", "prefixItems": members, "items": False, "minItems": len(members)}

    def map(self, depth: int) -> Schema:
        return {"type": "object", "additionalProperties": self.any(depth - 1), "maxProperties": 3}

    def one_of(self, depth: int) -> Schema:
        """Branches told apart by a constant, as tagged unions are, or by their types."""
        if self._chance.random() < 0.5:
            return {
                "oneOf": [
                    {"type": "integer", "maximum": 99},
                    {"type": "string", "maxLength": 6},
                    {"type": "null"},
                ]
            }
        return {"oneOf": [self._tagged(tag, depth) for tag in ("circle", "square", "path")]}

    def any_of(self, depth: int) -> Schema:
        return {"anyOf": [self.any(depth - 1), self.object(depth - 1), {"type": "null"}]}

    def all_of(self, depth: int) -> Schema:
        return {
            "allOf": [
                {"type": "object", "properties": {"a": self.scalar(0)}, "required": ["a"]},
                {"properties": {"b": self.any(depth - 1)}, "required": ["b"]},
            ]
        }

    def reference(self, depth: int) -> Schema:
        return {"$ref": f"#/$defs/{self._chance.choice(['Leaf', 'Pair', 'Tree'])}"}

    def _tagged(self, tag: str, depth: int) -> Schema:
        return {
            "type": "object",
            "properties": {"type": {"const": tag}, "data": self.any(depth - 1)},
            "required": ["type", "data"],
            "additionalProperties": False,
        }
