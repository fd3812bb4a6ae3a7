"""How short each of several texts has to become."""

from __future__ import annotations

from collections.abc import Sequence


def level(sizes: Sequence[int], room: int) -> int:
    """Return the largest size to which texts can be cut so that all of them together fit into `room`.

    So the largest one becomes shorter first, and never shorter than another one is left; those below stay.
    """
    left, waiting = room, len(sizes)
    for size in sorted(sizes):
        share = left // waiting
        if size > share:
            return max(0, share)
        left -= size
        waiting -= 1
    return max(sizes, default=0)
