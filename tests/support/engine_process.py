"""Starts a real engine process for tests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backend_engine.launcher import EngineOptions

STOP_S = 20


@contextmanager
def running_engine(model: Path, log: Path, **options: Any) -> Iterator[str]:
    """Run an engine on a free port while the block lasts; yields its base URL.

    The engine's log goes to the file `log`. Its end is part of the test: it must leave with status 0 when
    asked to.
    """
    command = EngineOptions(model=str(model), port=0, **options).argv()
    with log.open("wb") as log_file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log_file)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the engine ended before it was ready:\n{log.read_text()[-3000:]}"
        yield json.loads(line)["url"]
        process.terminate()
        assert process.wait(STOP_S) == 0, log.read_text()[-3000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
