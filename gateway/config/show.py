"""The effective configuration as YAML, with secrets masked."""

from __future__ import annotations

from io import StringIO
from typing import Any

import msgspec
from ruamel.yaml import YAML

from gateway.config.schema import Config, Secret


def as_yaml(config: Config) -> str:
    """Return the configuration with every key written out."""
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(_plain(config), stream)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        shown = {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
        tag = value.__struct_config__.tag
        return {"kind": tag, **shown} if tag else shown
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    # `str` masks it.
    return str(value) if isinstance(value, Secret) else value
