"""When a configuration is read again, and what may not change in it while the gateway runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.config.schema import Config

POLL_S = 1.0
_FIXED = (
    ("server", "host"),
    ("server", "port"),
    ("server", "workers"),
    ("telemetry", "otlp_endpoint"),
    ("telemetry", "sample"),
)
"""What sockets, processes and exporters were made with."""

_Stamp = tuple[int, int, int] | None


class ReloadRequests:
    """Asked for by a signal, or by the file itself when it changes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._asked = asyncio.Event()
        self._taken = self._stamp()

    def ask(self) -> None:
        """Ask for a reload of the file as it is now; the watch need not do it again."""
        self._taken = self._stamp()
        self._asked.set()

    async def next(self) -> None:
        """Wait until a reload is asked for; what was asked several times is asked for once."""
        await self._asked.wait()
        self._asked.clear()

    async def watch(self, poll_s: float = POLL_S) -> None:
        """Ask whenever the file has changed and is at rest: an editor may be in the middle of writing it."""
        seen = self._stamp()
        while True:
            await asyncio.sleep(poll_s)
            before, seen = seen, self._stamp()
            if seen is not None and seen == before and seen != self._taken:
                self.ask()

    def _stamp(self) -> _Stamp:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def needs_restart(running: Config, following: Config) -> list[str]:
    """Return the keys of `following` that cannot be taken over by a running gateway.

    It is refused whole then: half of a configuration is one that nobody has checked. A host that stays open
    to the world while the keys that guarded it are gone would be such a half.
    """
    return [
        f"{section}.{key}"
        for section, key in _FIXED
        if getattr(getattr(running, section), key) != getattr(getattr(following, section), key)
    ]
