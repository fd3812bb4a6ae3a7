"""An engine that is no process: the launcher's interface over a scripted upstream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from backend_engine.errors import EngineStopped
from backend_engine.launcher import EngineOptions


@dataclass
class FakeProcess:
    """A running engine as the launcher hands it out."""

    url: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False

    async def wait(self) -> int:
        await self.ended.wait()
        return -9

    async def stop(self, grace_s: float = 0) -> None:
        self.stopped = True
        self.ended.set()


@dataclass
class FakeLauncher:
    """Gives out processes at `url`; each launch waits for `may_start` and fails while `broken` says why."""

    url: str
    may_start: asyncio.Event = field(default_factory=asyncio.Event)
    broken: str | None = None
    status: int | None = None
    launched: list[EngineOptions] = field(default_factory=list)
    processes: list[FakeProcess] = field(default_factory=list)

    async def __call__(self, options: EngineOptions) -> FakeProcess:
        self.launched.append(options)
        await self.may_start.wait()
        if self.broken:
            raise EngineStopped(self.broken, status=self.status)
        self.processes.append(FakeProcess(self.url))
        return self.processes[-1]
