"""Runs OpenAI's package for Node, installed once from the lock file into the cache folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "node"
_NEEDED = "these tests need Node and npm (Debian: apt-get install nodejs npm)"


def program(name: str) -> str:
    """Return the path of `node` or `npm`; without it the test fails, for a skipped one proves nothing."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed: {_NEEDED}"
    return found


def installed() -> Path:
    """Return a folder with the locked packages and the script."""
    lock = (SOURCE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay" / "tests"
    folder = cache / f"node-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in SOURCE.iterdir():
        shutil.copy(file, folder)
    done = folder / ".complete"
    if not done.exists():
        command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"npm ci failed; {_NEEDED}\n{result.stderr[-2000:]}"
        done.touch()
    return folder


async def run(folder: Path, scenario: str, base_url: str) -> Any:
    """Run one scenario of `client.mjs` and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        program("node"),
        "client.mjs",
        scenario,
        base_url,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-2000:]
    return json.loads(printed)
