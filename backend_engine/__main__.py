"""`python -m backend_engine`: one engine process, started by `forebay engine` or by the gateway.

Standard output carries one JSON line when the server is ready, for whoever started us; logs go to
standard error. Nothing heavy is imported before the options are known to be right.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import sys
from typing import Annotated

import cyclopts
import structlog
import uvloop

from backend_engine.errors import ModelError
from backend_engine.launcher import EXIT_BAD_OPTIONS, EXIT_ENGINE_DIED, EXIT_MODEL, EngineOptions
from telemetry.logs import configure_logs

_log = structlog.get_logger("engine")

cli = cyclopts.App(
    name="forebay engine",
    help="Serve one model over an OpenAI-compatible HTTP API, on this machine's CPU.",
    version_flags=[],
)


@cli.default
def engine(
    options: Annotated[EngineOptions, cyclopts.Parameter(name="*")],
    *,
    exit_with_parent: Annotated[bool, cyclopts.Parameter(show=False, negative="")] = False,
) -> int:
    """Serve one model over an OpenAI-compatible HTTP API, on this machine's CPU."""
    configure_logs(options.log_level)
    if (problem := options.problem()) is not None:
        sys.stderr.write(f"forebay engine: {problem}\n")
        return EXIT_BAD_OPTIONS
    if not options.allow_unauthenticated and not _is_loopback(options.host):
        message = "it has no authentication: put a gateway before it, or pass --allow-unauthenticated"
        sys.stderr.write(f"forebay engine: refusing to listen on {options.host}, because {message}\n")
        return EXIT_BAD_OPTIONS
    try:
        return uvloop.run(_serve(options, exit_with_parent))
    except ModelError as error:
        sys.stderr.write(f"forebay engine: {options.model}: {error}\n")
        return EXIT_MODEL
    except OSError as error:
        sys.stderr.write(
            f"forebay engine: cannot listen on {options.host}:{options.port}: {error.strerror}\n"
        )
        return EXIT_BAD_OPTIONS


async def _serve(options: EngineOptions, exit_with_parent: bool) -> int:
    # torch's threads spin for milliseconds while they wait for one another. On cores that are shared with the
    # HTTP server, the gateway and its clients, a step then waits for whole time slices. Measured on 2 cores,
    # milliseconds a token alone / beside a busy process: default 20 / 40 to 270, never spinning 47 / 40,
    # a thousand turns 24 / 46. It must be set before torch loads its OpenMP library.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Imported here, where options are known to be right: torch takes seconds.
    from backend_engine.server.process import ServerProcess

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    if exit_with_parent:
        await loop.connect_read_pipe(lambda: _ParentWatch(stop), sys.stdin)
    process = await ServerProcess.start(options, on_death=stop.set)
    try:
        if not stop.is_set():
            _say("ready", url=process.url)
            await stop.wait()
    finally:
        died = not process.healthy
        await process.stop()
    return EXIT_ENGINE_DIED if died else 0


class _ParentWatch(asyncio.Protocol):
    """Notices that our parent, who holds the other end of our standard input, is gone."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


def _say(event: str, **fields: object) -> None:
    # A parent that no longer reads is no reason to fail.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(cli())
