"""A real `forebay serve` inside a test's event loop: what it prints is what a test waits for."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Serve:
    """A running `forebay serve`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""

    async def until(self, text: str, times: int = 1) -> None:
        assert self.process.stdout is not None
        while self.printed.count(text) < times:
            line = await self.process.stdout.readline()
            assert line, self.printed
            self.printed += line.decode()

    async def url(self) -> str:
        await self.until("listens on ")
        return self.printed.split("listens on ")[1].split()[0]

    async def end(self) -> int:
        assert self.process.stdout is not None
        self.printed += (await self.process.stdout.read()).decode()
        return await self.process.wait()


@asynccontextmanager
async def serving(
    folder: Path, yaml: str, *arguments: str, python_path: Path | None = None
) -> AsyncIterator[Serve]:
    (folder / "forebay.yaml").write_text(yaml)
    environ = {
        key: value for key, value in os.environ.items() if not key.startswith(("FOREBAY__", "OPENAI_"))
    }
    if "cache:" not in yaml:
        # A process more for every gateway, where it is not the point.
        environ["FOREBAY__CACHE__SEMANTIC"] = "null"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from gateway.cli import main; main()", "serve", *arguments),
        cwd=folder,
        env={**environ, "PYTHONPATH": os.pathsep.join(map(str, [*filter(None, [python_path]), ROOT]))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Serve(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
