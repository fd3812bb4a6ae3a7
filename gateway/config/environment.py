"""Environment: `FOREBAY__SERVER__PORT=9000` sets a key, `${NAME}` stands for a variable's value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.config.document import Node, Place, parse_scalar
from gateway.errors import ConfigError

PREFIX = "FOREBAY__"
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def apply_overrides(document: Node, environ: Mapping[str, str]) -> None:
    """Set every key that the environment names. Raises ConfigError."""
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        place = Place(f"environment variable {variable}")
        path = tuple(part.lower() for part in variable.removeprefix(PREFIX).split("__"))
        if not all(path):
            raise ConfigError(f"{place}: a name is missing between the double underscores")
        document.put(path, parse_scalar(environ[variable], str(place)), place)


def resolve_references(node: Node, environ: Mapping[str, str]) -> None:
    """Replace `${NAME}` in all strings below `node`. Raises ConfigError for a variable that is not set."""
    if isinstance(node.value, dict):
        for inner in node.value.values():
            resolve_references(inner, environ)
    elif isinstance(node.value, list):
        for inner in node.value:
            resolve_references(inner, environ)
    elif isinstance(node.value, str):
        node.value = _REFERENCE.sub(lambda match: _look_up(match[1], node.place, environ), node.value)


def _look_up(name: str, place: Place, environ: Mapping[str, str]) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{place}: '${{{name}}}' is not the name of an environment variable")
    if name not in environ:
        raise ConfigError(f"{place}: the environment variable {name} is not set")
    return environ[name]
