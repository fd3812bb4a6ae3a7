"""Turns nodes into the schema's structs, strictly: errors name their place and the nearest key."""

from __future__ import annotations

import difflib
import types
import typing
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from gateway.config.document import Node
from gateway.config.schema import Secret
from gateway.errors import ConfigError

T = TypeVar("T")


def build(node: Node, kind: type[T], path: str = "") -> T:
    """Return `node` as a `kind`. Raises ConfigError."""
    return typing.cast(T, _build(node, kind, path))


def _build(node: Node, kind: Any, path: str) -> Any:
    origin = get_origin(kind)
    if _is_struct(kind):
        return _struct(node, kind, path)
    if origin in (Union, types.UnionType):
        return _union(node, get_args(kind), path)
    if origin is dict:
        entry = get_args(kind)[1]
        return {name: _build(inner, entry, _join(path, name)) for name, inner in _mapping(node, path).items()}
    if origin is tuple and _is_struct(get_args(kind)[0]):
        return _list(node, get_args(kind)[0], path)
    if isinstance(kind, type) and issubclass(kind, Secret):
        if not isinstance(node.value, str) or not node.value:
            raise _wrong(node, path, "a string that is not empty")
        return kind(node.value)
    return _scalar(node, kind, path)


def _struct(node: Node, kind: type[msgspec.Struct], path: str) -> Any:
    given = _mapping(node, path)
    hints = typing.get_type_hints(kind, include_extras=True)
    known = [field.name for field in msgspec.structs.fields(kind)]
    tag_field = kind.__struct_config__.tag_field
    for name in given:
        if name not in known and name != tag_field:
            raise _unknown(node, name, path, known)
    values = {
        name: _build(inner, hints[name], _join(path, name)) for name, inner in given.items() if name in known
    }
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in values:
            raise ConfigError(f"{node.place}: '{_join(path, field.name)}' is missing")
    return kind(**values)


def _union(node: Node, kinds: tuple[Any, ...], path: str) -> Any:
    if type(None) in kinds:
        if node.value is None:
            return None
        kinds = tuple(kind for kind in kinds if kind is not type(None))
        if len(kinds) == 1:
            return _build(node, kinds[0], path)
    tagged = {kind.__struct_config__.tag: kind for kind in kinds}
    given = _mapping(node, path)
    tag = given.get("kind")
    if tag is None:
        raise ConfigError(f"{node.place}: '{_join(path, 'kind')}' is missing ({_one_of(tagged)})")
    if tag.value not in tagged:
        raise ConfigError(
            f"{tag.place}: '{_join(path, 'kind')}' must be {_one_of(tagged)}, not {tag.value!r}"
        )
    return _struct(node, tagged[tag.value], path)


def _list(node: Node, kind: type[msgspec.Struct], path: str) -> Any:
    if not isinstance(node.value, list):
        raise _wrong(node, path, "a list")
    return tuple(_struct(inner, kind, f"{path}[{at}]") for at, inner in enumerate(node.value))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _mapping(node: Node, path: str) -> dict[str, Node]:
    if node.value is None and not path:
        return {}
    if not isinstance(node.value, dict):
        raise _wrong(node, path, "a mapping of keys to values")
    return node.value


def _scalar(node: Node, kind: Any, path: str) -> Any:
    plain = [inner.value for inner in node.value] if isinstance(node.value, list) else node.value
    if isinstance(plain, dict):
        raise ConfigError(f"{node.place}: '{path}' must be a single value, not a mapping")
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{node.place}: '{path}': {_reason(error)}") from None


def _reason(error: msgspec.ValidationError) -> str:
    reason = str(error).partition(" - at ")[0].replace("`", "'")
    return reason[:1].lower() + reason[1:]


def _unknown(node: Node, name: str, path: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f", did you mean '{near[0]}'?" if near else f" (known here: {', '.join(known)})"
    return ConfigError(f"{node.keys[name]}: unknown key '{_join(path, name)}'{hint}")


def _wrong(node: Node, path: str, expected: str) -> ConfigError:
    got = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(node.value), "a single value")
    return ConfigError(f"{node.place}: '{path}' must be {expected}, not {got}")


def _one_of(names: typing.Iterable[str]) -> str:
    return "one of " + ", ".join(sorted(names))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
