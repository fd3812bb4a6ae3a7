"""Which tier answered a conversation's last turn, and what each tier has read of it.

A worker remembers its own turns; nothing of it is shared, written or kept over a reload. What is forgotten
costs a cold prompt or a turn that is decided anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from semantic_cache.fair_memory import FairMemory

CAPACITY = 4096
"""Conversations of all tenants together; whoever has most makes room."""
TTL_S = 3600.0
WARM_S = 300.0
"""How long providers keep a prompt's beginning, as a rule."""
STAY_TURNS = 4
"""Turns after a hard one that stay with the tier that answered it."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What a tier has read: the first `size` bytes of the messages, and when."""

    size: int
    digest: bytes
    at: float


@dataclass(slots=True)
class _Conversation:
    tier: int
    stay: int
    at: float
    read: dict[int, _Read] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """A request's place in its conversation."""

    key: bytes
    tenant: str
    messages: bytes
    """As the client sent them, without what closes the list."""
    tier: int | None = None
    """Who answered the last turn; None if that is not known."""
    stay: int = 0
    """Turns that still stay there after a hard one."""
    warm: Mapping[int, float] = field(default_factory=dict)
    """By tier, the share of the messages that it has read lately."""


class Sessions:
    """The conversations of one route."""

    def __init__(self, capacity: int = CAPACITY, clock: Callable[[], float] = time.monotonic) -> None:
        self._held: FairMemory[bytes, _Conversation] = FairMemory(capacity)
        self._clock = clock

    def turn(self, tenant: str, key: bytes, messages: bytes, *, goes_on: bool) -> Turn:
        """Return what is known of a turn. One that does not go on with anything is a first one."""
        messages = messages.rstrip().removesuffix(b"]").rstrip()
        found = self._held.get(key) if goes_on else None
        now = self._clock()
        if found is None or now - found.at > TTL_S:
            return Turn(key, tenant, messages)
        warm = {
            tier: read.size / len(messages)
            for tier, read in found.read.items()
            if now - read.at <= WARM_S
            and 0 < read.size <= len(messages)
            and sha256(messages[: read.size]).digest() == read.digest
        }
        return Turn(key, tenant, messages, found.tier, found.stay, warm)

    def answered(self, turn: Turn, tier: int, *, hard: bool) -> None:
        """Note who answered a turn; `hard` if a smaller tier was not enough for it."""
        now = self._clock()
        before = self._held.pop(turn.key)
        if before is None or now - before.at > TTL_S:
            before = _Conversation(tier, 0, now)
        stay = STAY_TURNS if hard else max(0, before.stay - 1)
        before.read[tier] = _Read(len(turn.messages), sha256(turn.messages).digest(), now)
        before.tier, before.stay, before.at = tier, stay, now
        self._held.put(turn.tenant, turn.key, before)
