"""One semantic process from its options to its exit: its parts, its socket, and the parent whose it is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from semantic_cache.decision.base import Decider
from semantic_cache.embed.errors import BadEmbedder
from semantic_cache.errors import BadStoreUrl, CacheError
from semantic_cache.semantic.launcher import (
    EXIT_BROKEN,
    EXIT_REFUSED,
    EXIT_UNUSABLE,
    READY,
    REFUSED,
    SemanticOptions,
)
from semantic_cache.semantic.service.follower import Encode, Follower
from semantic_cache.semantic.service.server import Server
from semantic_cache.semantic.service.service import Service
from semantic_cache.semantic.service.shelf import Shelf
from semantic_cache.semantic.service.teacher import Teacher
from semantic_cache.store.base import Budget
from semantic_cache.store.open import open_store

_MIB = 1024 * 1024
_LONGEST_LINE = 2000
_COLLECT_AFTER = 20_000
"""Objects made, less those freed, until the youngest are looked through."""


class BadParts(CacheError):
    """Something that belongs to the program itself is missing or broken."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What embeds and decides."""

    embedder: str
    """The embedder's id."""
    dim: int
    encode: Encode
    encode_later: Encode
    """The same, but after all that `encode` is asked for."""
    decider: Decider
    close: Callable[[], Awaitable[None]]


Build = Callable[[SemanticOptions], Parts]
"""Makes the parts; raises BadEmbedder or BadParts. Called in a thread, since weights take their time."""


def run(socket: Path, options: SemanticOptions, build: Build) -> int:
    """Serve until a signal comes or the parent is gone; returns the exit status."""
    leave_with_parent(socket)
    # The embedder's thread needs the interpreter's lock to hand over what it has made: with the default of
    # 5 ms it would stand idle behind decisions whenever several questions come at once.
    sys.setswitchinterval(0.001)
    try:
        return uvloop.run(_serve(socket, options, build))
    except (BadEmbedder, BadParts, BadStoreUrl, OSError) as error:
        # Whoever started us says why; to say it here too would be a line for each try.
        say(REFUSED + " ".join(str(error).split()))
        return EXIT_UNUSABLE if isinstance(error.__cause__, ImportError) else EXIT_REFUSED
    finally:
        # Not its directory: its name would be free for anybody until we are started again.
        with contextlib.suppress(OSError):
            socket.unlink(missing_ok=True)


async def _serve(socket: Path, options: SemanticOptions, build: Build) -> int:
    stop, status = asyncio.Event(), 0

    def break_off() -> None:
        nonlocal status
        status = EXIT_BROKEN
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    async with contextlib.AsyncExitStack() as opened:
        parts = await asyncio.to_thread(build, options)
        opened.push_async_callback(parts.close)
        store = open_store(options.store, Budget(options.max_entries, options.max_mb * _MIB))
        opened.push_async_callback(store.close)
        shelf = Shelf(parts.embedder, parts.dim, options.index_mb * _MIB)
        opened.callback(shelf.close)
        follower = Follower(store.feed(), shelf, parts.encode_later, break_off)
        teacher = Teacher(store, shelf, parts.decider, follower.hurry)
        service = Service(
            parts.embedder,
            parts.dim,
            parts.encode,
            shelf,
            parts.decider,
            teacher,
            follower,
            encode_later=parts.encode_later,
            candidates=options.candidates,
        )
        opened.push_async_callback(service.close)
        follower.start()
        opened.push_async_callback(follower.close)
        # What is here stays, and questions leave few cycles: looking for them took a tenth of the gates'
        # time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER, 20, 20)
        server = Server(service.answer)
        await server.start(socket)
        opened.push_async_callback(server.close)
        say(READY)
        await stop.wait()
    return status


def say(line: str) -> None:
    """Tell the parent how the start went, in one line. One that no longer reads is no reason to fail."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(line[:_LONGEST_LINE] + "\n")
        sys.stdout.flush()


def leave_with_parent(socket: Path) -> None:
    """See to it that this process goes when whoever holds the other end of standard input does.

    A thread, not the event loop: it must work while that is busy or stuck.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        # Nobody will start us again there: the directory goes as well.
        with contextlib.suppress(OSError):
            socket.unlink(missing_ok=True)
            socket.parent.rmdir()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
