"""Keys and configurations of tenants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config.schema import Limits
from gateway.state.keys.key import HASH_PREFIX, digest_of, new_key
from gateway.state.keys.sqlite import SqliteKeys


def key_of(name: str) -> str:
    """The key of a configured tenant."""
    return f"fb-{name}-0123456789abcdef"


def tenant(name: str, **limits: float) -> dict[str, Any]:
    """A tenant as it stands in the configuration."""
    return {"name": name, "key_hash": HASH_PREFIX + digest_of(key_of(name)).hex(), "limits": limits}


def bearer(key: str) -> Mapping[str, Any]:
    """The header that carries a key, for `RunningGateway.post`."""
    return {"authorization": f"Bearer {key}"}


def store_key(folder: Path, name: str, limits: Limits | None = None) -> tuple[str, str]:
    """Do what `forebay keys create` does for a gateway in `folder`; returns the key and its id."""
    key, record = new_key(name)
    SqliteKeys(folder / "state.db").add(record, limits)
    return key, record.id
