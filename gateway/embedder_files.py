"""Where the semantic tier's embedder lies on this machine, and how it comes there."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from gateway.config.schema import SemanticConfig
from gateway.models.errors import ModelNotPulled, ModelStoreError, PullFailed
from gateway.models.pull import pull
from gateway.models.store import ModelStore

_PULL = "from gateway.cli import main; main()"


def present(config: SemanticConfig, store: ModelStore) -> str | None:
    """Return the embedder's path; None for one at an upstream, or that its own library looks for.

    Raises ModelNotPulled if it is of the catalogue and not here.
    """
    if config.upstream is not None:
        return None
    try:
        return str(store.path(config.embedder))
    except ModelNotPulled:
        if config.embedder in store.catalog:
            raise
        return None
    except ModelStoreError:
        return None


def fetched(config: SemanticConfig, store: ModelStore) -> str | None:
    """Return the embedder's path, and download it first if need be. Raises ModelStoreError."""
    try:
        return present(config, store)
    except ModelNotPulled:
        return str(pull(config.embedder, store, quiet_if_present=True))


async def fetched_aside(config: SemanticConfig) -> str | None:
    """Do the same in a process of its own, which ends with whoever waits for it. Raises PullFailed."""
    try:
        return await asyncio.to_thread(present, config, ModelStore())
    except ModelNotPulled:
        pass
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _PULL, "models", "pull", config.embedder, "--quiet-if-present"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, said = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise PullFailed(lines[-1] if lines else f"Model '{config.embedder}' could not be pulled.")
    return await asyncio.to_thread(present, config, ModelStore())
