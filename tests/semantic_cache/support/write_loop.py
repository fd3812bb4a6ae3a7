"""A process that puts entries until it is killed: `python -m … URL`; each number printed is kept."""

from __future__ import annotations

import asyncio
import sys
import time

from semantic_cache.store.base import Budget
from semantic_cache.store.open import open_store
from tests.semantic_cache.support.samples import entry, key


def answer_of(number: int) -> bytes:
    """Return an answer that tells whether it is whole."""
    return b'{"%d":"%s"}' % (number, b"x" * (number * 997 % 20_000))


async def write(url: str) -> None:
    store = open_store(url, Budget(entries=500))
    number = 0
    while True:
        numbers = range(number, number + 8)
        await asyncio.gather(
            *(store.put(key(str(n)), entry(time.time(), answer=answer_of(n))) for n in numbers)
        )
        number = numbers.stop
        print(number - 1, flush=True)


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1]))
