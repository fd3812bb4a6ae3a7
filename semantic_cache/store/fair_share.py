"""How much each tenant may keep when all together hold too much."""

from __future__ import annotations

from collections.abc import Sequence


def level(sizes: Sequence[int], room: int) -> int:
    """Return the largest size L with sum(min(size, L)) <= room.

    Whoever holds less than L keeps everything; so one tenant's flood never evicts another's small share
    (max-min fairness).
    """
    left, count = room, len(sizes)
    for size in sorted(sizes):
        if size * count > left:
            return left // count
        left -= size
        count -= 1
    return max(sizes, default=0)
