"""A configuration as a tree of values that know where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gateway.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a file with line and column counted from one, or a variable or flag."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


@dataclass(slots=True)
class Node:
    """A scalar, a list of nodes or a dict of nodes, with its place and those of its keys."""

    value: Any
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)

    def find(self, *path: str) -> Node | None:
        """Return the node below at `path`, if there is one."""
        node = self
        for name in path:
            if not isinstance(node.value, dict) or name not in node.value:
                return None
            node = node.value[name]
        return node

    def put(self, path: tuple[str, ...], value: Any, place: Place) -> None:
        """Set what stands at `path`, making or replacing what is in the way."""
        node = self
        for name in path:
            if not isinstance(node.value, dict):
                node.value, node.place, node.keys = {}, place, {}
            if name not in node.value:
                node.keys[name] = place
                node.value[name] = Node(None, place)
            node = node.value[name]
        fresh = to_node(value, place)
        node.value, node.place, node.keys = fresh.value, fresh.place, fresh.keys


def to_node(value: Any, place: Place) -> Node:
    """Return plain values as nodes that all stand at one place."""
    if isinstance(value, dict):
        keys = dict.fromkeys(map(str, value), place)
        return Node({str(key): to_node(inner, place) for key, inner in value.items()}, place, keys)
    if isinstance(value, list):
        return Node([to_node(inner, place) for inner in value], place)
    return Node(value, place)


def parse_yaml(text: str, source: str) -> Node:
    """Return a YAML 1.2 document as nodes. Raises ConfigError with the place."""
    loaded = _load(text, source)
    top = Place(source, 1, 1)
    if loaded is None:
        return Node({}, top)
    if not isinstance(loaded, CommentedMap):
        raise ConfigError(f"{top}: the configuration must be a mapping of sections such as 'server:'")
    return _convert(loaded, top, source)


def parse_scalar(text: str, source: str) -> Any:
    """Return the value that `text` has in YAML: a number, a boolean, a list … Raises ConfigError."""
    return _plain(_load(text, source))


def _load(text: str, source: str) -> Any:
    try:
        return YAML(typ="rt").load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        raise ConfigError(f"{place}: {_first_line(error.problem or error.context)}") from None
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{source}: {_first_line(str(error))}") from None


def _first_line(text: str | None) -> str:
    return (text or "this is not YAML").strip().splitlines()[0]


def _convert(value: Any, place: Place, source: str) -> Node:
    if isinstance(value, CommentedMap):
        node = Node({}, place)
        for key, inner in value.items():
            name = str(key)
            node.keys[name] = _place(value.lc.key(key), source, place)
            node.value[name] = _convert(inner, _place(value.lc.value(key), source, place), source)
        return node
    if isinstance(value, CommentedSeq):
        items = [
            _convert(inner, _place(value.lc.item(at), source, place), source)
            for at, inner in enumerate(value)
        ]
        return Node(items, place)
    return Node(_plain(value), place)


def _place(position: tuple[int, int] | None, source: str, above: Place) -> Place:
    # Keys that come in by a merge (`<<`) have no position of their own.
    return Place(source, position[0] + 1, position[1] + 1) if position else above


def _plain(value: Any) -> Any:
    """Return ruamel's scalar types, which remember their formatting, as Python's own."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
