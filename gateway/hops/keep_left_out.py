"""Keeps what the compressor left out, and gives the model a tool to ask for it.

Only where the caller uses tools anyway and does not say `no-store`, and only what is kept gets an id in its
mark: no mark ever names a tool that the model does not have. Fails open: without the store the prompt goes as
the compressor made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from gateway.answer import Answer
from gateway.compression.compress import Changed
from gateway.compression.kept import Kept
from gateway.compression.outcome import BYTES_PER_TOKEN, Compression
from gateway.exchange import Exchange
from gateway.pipeline import Next
from gateway.wire.own_tool import NAME, TOOL, injection
from gateway.wire.splice import Edit
from semantic_cache.errors import StoreUnavailable
from telemetry.metrics import GatewayMetrics


class KeepLeftOut:
    """The hop behind the compressor."""

    name = "keep_left_out"

    def __init__(self, kept: Kept, metrics: GatewayMetrics) -> None:
        self._kept = kept
        self._metrics = metrics

    async def run(self, ex: Exchange, next: Next) -> Answer:
        made = ex.compression
        # Who wants nothing kept of a request means its prompt as well.
        kept = ex.cache is None or not ex.cache.directives.no_store
        if made is not None and made.dropped and ex.view is not None and kept:
            tool = injection(ex.body, ex.view)
            if tool is not None:
                ex.compression = replace(made, with_tool=await self._edits(ex, made, tool))
        return await next(ex)

    async def _edits(self, ex: Exchange, made: Compression, tool: Edit) -> tuple[Edit, ...]:
        """Return the prompt's edits with ids in the marks, and the tool; none if that is not to be."""
        edits = {edit.start: edit for edit in made.edits}
        changes = [change for change in made.dropped if change.text.start in edits]
        kept = False
        for change, text in zip(changes, await self._texts(ex, changes), strict=True):
            if text is None:
                continue
            edit = Edit(change.text.start, change.text.end, msgspec.json.encode(text))
            if len(edit.text) < edit.end - edit.start:
                edits[edit.start], kept = edit, True
        more = sum(len(edit.text) for edit in edits.values()) - sum(len(edit.text) for edit in made.edits)
        # The tool is part of the prompt: it must not cost more than was saved.
        if not kept or made.tokens_saved * BYTES_PER_TOKEN <= more + len(TOOL):
            return ()
        return (*edits.values(), tool)

    async def _texts(self, ex: Exchange, changes: Sequence[Changed]) -> list[str | None]:
        assert ex.view is not None
        model = ex.view.model
        try:
            return await asyncio.gather(
                *(
                    self._kept.keep(ex.tenant, model, change.text.value, change.value, NAME)
                    for change in changes
                )
            )
        except StoreUnavailable:
            self._metrics.retrieved("unavailable")
            return [None] * len(changes)
