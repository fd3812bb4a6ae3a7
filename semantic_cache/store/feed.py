"""How the semantic process follows a store: first everything that is there, then every change, in order.

A feed that has fallen behind what the store remembers begins again with everything; whoever reads it sees
only a batch that says so. What it tells may be late, and twice, never wrong: a record is read as it is now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import structlog

from semantic_cache.epochs import Epochs, decode_epochs
from semantic_cache.record import Stored
from semantic_cache.scope import ExactKey

BATCH = 500
"""Records in one batch at most."""
POLL_S = 0.05
"""How often a store is asked whether anything has changed."""
KEPT_CHANGES = 100_000
"""Changes that a store remembers at least; a follower further behind begins anew."""
_log = structlog.get_logger("semantic_cache.store")


@dataclass(frozen=True, slots=True)
class Batch:
    """What has changed, in this order."""

    anew: bool = False
    """Forget everything: what follows is all there is."""
    stored: Sequence[Stored] = ()
    gone: Sequence[ExactKey] = ()
    epochs: Mapping[str, Epochs] = field(default_factory=dict)
    """By tenant: what these mean is dead."""
    caught_up: bool = False
    """Nothing more is waiting."""


class Feed(Protocol):
    """One follower's place in the changes of a store."""

    async def next(self) -> Batch:
        """Wait for the next batch. Raises StoreUnavailable; the next call tries again from the same place."""

    def hurry(self) -> None:
        """Look now: somebody knows of a change."""

    async def close(self) -> None:
        """Free everything."""


def epochs_of(tenant: str, kept: bytes | None) -> Epochs:
    """Return a tenant's epochs as a store kept them; the first ones if they are not what was written.

    A follower then holds what may be dead: whoever serves an answer looks at its epoch again.
    """
    try:
        return decode_epochs(kept)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        _log.error("epochs_unreadable", tenant=tenant, reason=type(error).__name__)
        return Epochs()
