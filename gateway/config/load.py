"""Loads the configuration: flags over environment over file over defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config.build import build
from gateway.config.checks import check
from gateway.config.defaults import add_defaults
from gateway.config.document import Node, Place, parse_yaml
from gateway.config.environment import apply_overrides, resolve_references
from gateway.config.schema import Config
from gateway.config.unbuilt import refuse_unbuilt
from gateway.errors import ConfigError

DEFAULT_FILE = Path("forebay.yaml")


def load_config(
    path: Path | None,
    *,
    flags: Mapping[tuple[str, ...], Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Return the effective configuration. Raises ConfigError.

    Without `path`, `forebay.yaml` in the working directory counts if it is there. `flags` maps the path of a
    key to its value; None stands for a flag that was not given.
    """
    document = _read(path)
    resolve_references(document, environ)
    add_defaults(document, environ)
    apply_overrides(document, environ)
    for key, value in (flags or {}).items():
        if value is not None:
            document.put(key, value, Place(f"flag --{key[-1].replace('_', '-')}"))
    refuse_unbuilt(document)
    config = build(document, Config)
    check(config, document)
    return config


def config_file(path: Path | None) -> Path | None:
    """Return the file that counts: the given one, or the default one if it is there."""
    if path is not None:
        return path
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _read(path: Path | None) -> Node:
    path = config_file(path)
    if path is None:
        return Node({}, Place("default configuration"))
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid UTF-8 at byte {error.start}") from None
    return parse_yaml(text, str(path))
