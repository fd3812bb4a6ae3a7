"""Puts what is learnt about an entry into the store, where all processes of all hosts find it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import msgspec
import structlog

from semantic_cache.decision.base import Assessment, Decider, Observation, Observations
from semantic_cache.errors import StoreUnavailable
from semantic_cache.record import NOTHING_LEARNT, Learnt, encode
from semantic_cache.record import Stored as StoredRecord
from semantic_cache.scope import ExactKey
from semantic_cache.semantic.service.shelf import Shelf
from semantic_cache.store.base import Store

_TRIES = 5
_PAUSE_S = 0.1
_DECODE = msgspec.msgpack.Decoder(Observations).decode
_NONE = Observations()
_log = structlog.get_logger("semantic_cache.service")


def observations_of(stored: StoredRecord) -> Observations:
    """Return the labels of an entry; none if they are of a form that this release does not know."""
    if not stored.learnt.observations:
        return _NONE
    try:
        return _DECODE(stored.learnt.observations)
    except msgspec.DecodeError:
        return _NONE


def pool_of(records: Iterable[StoredRecord], most: int) -> Observations | None:
    """Return the labels of many entries together, oldest first; the newest `most`, None if there are none.

    Those of another calibration than the newest label's are left out.
    """
    dated: list[tuple[float, str, Observation]] = []
    for stored in records:
        history, times = observations_of(stored), stored.learnt.times
        # A history that somehow lost its times counts as old.
        padded = (0.0,) * (len(history.seen) - len(times)) + times[max(0, len(times) - len(history.seen)) :]
        dated += [(at, history.model, label) for at, label in zip(padded, history.seen, strict=True)]
    if not dated:
        return None
    dated.sort(key=lambda label: label[0])
    model = dated[-1][1]
    return Observations(model, tuple(label for _, of, label in dated if of == model)[-most:])


class Teacher:
    """Learns, one label at a time."""

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        decider: Decider,
        hurry: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`hurry` makes the shelf catch up with the store."""
        self._clock = clock
        self._store = store
        self._shelf = shelf
        self._decider = decider
        self._hurry = hurry
        self._turn = asyncio.Lock()

    async def label(self, entry: ExactKey, assessment: Assessment, *, same: bool) -> bool:
        """Add a label to an entry's history; returns whether the entry was there to take it."""

        def learn(stored: StoredRecord) -> Learnt:
            history = self._decider.learn(observations_of(stored), assessment, same=same)
            # The oldest labels make room; their times with them.
            times = (*stored.learnt.times, self._clock())[-len(history.seen) :]
            return msgspec.structs.replace(stored.learnt, observations=encode(history), times=times)

        return await self._change(entry, learn)

    async def block(self, entry: ExactKey, question: bytes) -> bool:
        """Never let an entry answer this question again; returns whether the entry was there."""
        return await self._change(entry, lambda stored: stored.learnt.blocking(question))

    async def withdraw(self, entry: ExactKey) -> bool:
        """Keep an entry from any group for ever; returns whether the entry was there."""
        return await self._change(
            entry, lambda stored: msgspec.structs.replace(stored.learnt, withdrawn=True)
        )

    async def _change(self, entry: ExactKey, change: Callable[[StoredRecord], Learnt]) -> bool:
        async with self._turn:
            for _ in range(_TRIES):
                stored = self._shelf.find(entry)
                if stored is None:
                    return False
                learnt = change(stored)
                before = b"" if stored.learnt == NOTHING_LEARNT else encode(stored.learnt)
                try:
                    if await self._store.teach(entry, before, encode(learnt)):
                        self._shelf.taught(msgspec.structs.replace(stored, learnt=learnt))
                        return True
                except StoreUnavailable as error:
                    _log.warning("label_lost", reason=str(error))
                    return False
                # Another process has taught it something: see what, and add to that.
                self._hurry()
                await asyncio.sleep(_PAUSE_S)
        return False
