"""Which prefixes this engine holds, as a stream: what a router needs to send a prompt to where its KV is.

The engine's thread collects what changes in a step and hands it over once; each reader has its own bounded
buffer in the event loop. A reader that falls behind is told how much it missed and gets a new snapshot, so it
is never wrong for long, and never a burden.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

BUFFER_NAMES = 8192


@dataclass(frozen=True, slots=True)
class KvEvent:
    """`snapshot`: all names held; `stored`, `removed`: names since; `lag`: how many of them were lost."""

    kind: Literal["snapshot", "stored", "removed", "lag"]
    names: tuple[bytes, ...] = ()
    missed: int = 0


class KvEventLog:
    """The engine's side: a pool listener that costs nothing while nobody reads."""

    def __init__(self) -> None:
        self._readers: list[Callable[[Sequence[KvEvent]], None]] = []
        self._changes: list[tuple[Literal["stored", "removed"], bytes]] = []

    def stored(self, block: int, name: bytes) -> None:
        """Note that `name` can be found."""
        if self._readers:
            self._changes.append(("stored", name))

    def removed(self, block: int, name: bytes) -> None:
        """Note that `name` is gone."""
        if self._readers:
            self._changes.append(("removed", name))

    def add_reader(self, deliver: Callable[[Sequence[KvEvent]], None], present: Sequence[bytes]) -> None:
        """Give `deliver` the names `present`, and from now on every change; a reader may be added again."""
        self.flush()
        if deliver not in self._readers:
            self._readers.append(deliver)
        deliver([KvEvent("snapshot", tuple(present))])

    def remove_reader(self, deliver: Callable[[Sequence[KvEvent]], None]) -> None:
        """Forget a reader."""
        self.flush()
        self._readers.remove(deliver)

    def flush(self) -> None:
        """Hand on what has changed, neighbours of one kind as one event."""
        if not self._changes:
            return
        events: list[KvEvent] = []
        names: list[bytes] = []
        for at, (kind, name) in enumerate(self._changes):
            names.append(name)
            if at + 1 == len(self._changes) or self._changes[at + 1][0] != kind:
                events.append(KvEvent(kind, tuple(names)))
                names = []
        self._changes.clear()
        for deliver in self._readers:
            deliver(events)


class KvEventReader:
    """One reader's buffer, all of it in the event loop; after a lag only a snapshot gets through."""

    def __init__(self, capacity: int = BUFFER_NAMES) -> None:
        self._capacity = capacity
        self._events: list[KvEvent] = []
        self._missed = 0
        self._ready = asyncio.Event()

    def push(self, events: Sequence[KvEvent]) -> None:
        """Take in `events`; what does not fit is counted and dropped, with all that was buffered."""
        for event in events:
            if event.kind == "snapshot":
                self._events, self._missed = [event], 0
            elif self._missed:
                self._missed += len(event.names)
                continue
            elif self._buffered() + len(event.names) > self._capacity:
                self._missed = self._buffered() + len(event.names)
                self._events = []
            else:
                self._events.append(event)
            self._ready.set()

    def wake(self) -> None:
        """Let a waiting `take` return with nothing."""
        self._ready.set()

    async def take(self) -> list[KvEvent]:
        """Wait for events and return all there are; a lag comes alone and asks for a new snapshot."""
        await self._ready.wait()
        self._ready.clear()
        if self._missed:
            return [KvEvent("lag", missed=self._missed)]
        events, self._events = self._events, []
        return events

    def _buffered(self) -> int:
        return sum(len(event.names) for event in self._events if event.kind != "snapshot")
