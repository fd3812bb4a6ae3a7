"""Where state lives: `sqlite://PATH` (relative to the working directory, or absolute) or a Redis server."""

from __future__ import annotations

from pathlib import Path

SQLITE = "sqlite://"
REDIS = ("redis://", "rediss://", "unix://")
STALL_S = 1.0
"""A store that says nothing for this long counts as down."""


def is_known(url: str) -> bool:
    """Return whether there is a store for this URL."""
    return len(url) > len(SQLITE) and url.startswith((SQLITE, *REDIS))


def sqlite_path(url: str) -> Path | None:
    """Return the database's path, or None if the URL names a Redis server."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def make_private(path: Path) -> None:
    """Make an empty file, and the folder around it, that only its owner can read. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
