"""JSON files of a model directory, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend_engine.errors import CheckpointError


def read_json_object(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """Return the JSON object in `path`; if `optional`, a missing file is an empty one.

    Raises CheckpointError for a file that is missing or holds anything else.
    """
    if not path.exists():
        if optional:
            return {}
        raise CheckpointError(f"{path}: no such file")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return content
