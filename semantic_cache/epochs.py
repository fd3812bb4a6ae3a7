"""Purging in constant time: a tenant has a counter, and floors below which answers are dead.

An answer carries the counter's value of the moment its question was asked. A purge raises the counter and
sets the floor of what it means to the new value, so everything asked before is dead at once, answers that are
still under way included, and nothing has to be looked for. What is dead is deleted when somebody comes upon
it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

_MOST_FLOORS = 256


class Epochs(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One tenant's counter and floors."""

    now: int = 0
    floor: int = 0
    """Of everything."""
    models: dict[str, int] = {}
    tags: dict[str, int] = {}

    def dead(self, epoch: int, model: str, tags: Iterable[str]) -> bool:
        """Return whether an answer of that epoch has been purged."""
        if epoch < self.floor:
            return True
        if self.models and epoch < self.models.get(model, 0):
            return True
        return bool(self.tags) and any(epoch < self.tags.get(tag, 0) for tag in tags)

    def purged(
        self, *, model: str | None = None, tag: str | None = None, before: int | None = None
    ) -> Epochs:
        """Return the epochs after a purge: of a model's answers, a tag's, or all of them.

        `before` spares answers of that epoch and later ones.
        """
        now = self.now + 1
        floor = now if before is None else min(before, now)
        if model is None and tag is None:
            raised = max(floor, self.floor)
            # What is below the floor of everything needs no floor of its own.
            return Epochs(now, raised, _above(self.models, raised), _above(self.tags, raised))
        models, tags = dict(self.models), dict(self.tags)
        if model is not None:
            models[model] = max(floor, models.get(model, 0))
        if tag is not None:
            tags[tag] = max(floor, tags.get(tag, 0))
        if len(models) + len(tags) > _MOST_FLOORS:
            # Too many to carry along with every read: some that need not have gone, go as well.
            return Epochs(now, max((*models.values(), *tags.values(), self.floor)))
        return Epochs(now, self.floor, models, tags)


def _above(floors: dict[str, int], least: int) -> dict[str, int]:
    return {name: floor for name, floor in floors.items() if floor > least}


_DECODE = msgspec.msgpack.Decoder(Epochs).decode
_NONE = Epochs()


def encode_epochs(epochs: Epochs) -> bytes:
    """Return the bytes that a store keeps."""
    return msgspec.msgpack.encode(epochs)


def decode_epochs(stored: bytes | None) -> Epochs:
    """Return a tenant's epochs; of a tenant that nothing was ever purged of, the first ones."""
    return _NONE if stored is None else _DECODE(stored)
