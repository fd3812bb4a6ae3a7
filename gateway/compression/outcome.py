"""What was done to one request's prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.compression.compress import Changed
from gateway.wire.splice import Edit

BYTES_PER_TOKEN = 4
"""The gateway has no tokenizer: tokens saved are an estimate."""


@dataclass(frozen=True, slots=True)
class Compression:
    """The edits that the upstream's copy of the body gets; the request itself stays as the client sent it."""

    mode: str
    """The mode that took effect: `lossless` where `auto` found that more would not pay."""
    edits: tuple[Edit, ...]
    tokens_before: int
    tokens_after: int
    stages: Mapping[str, int]
    """Tokens that each stage saved."""
    ranked: bool
    """An embedder took part."""
    seconds: float
    dropped: tuple[Changed, ...] = ()
    """The texts that changed, if the mode may have dropped something of them."""
    with_tool: tuple[Edit, ...] = ()
    """The edits with which the model can ask for what was left out; none if it cannot."""
    retrieved: int = 0
    """How often the model has asked for what was left out, up to this call."""
    scorer: str | None = None
    """The model that told likelihoods; None if none was asked."""
    scorer_seconds: float = 0.0
    """How long it was waited for."""

    @property
    def tokens_saved(self) -> int:
        """The difference."""
        return self.tokens_before - self.tokens_after

    @property
    def ratio(self) -> float:
        """How many times smaller the prompt became."""
        return round(self.tokens_before / max(1, self.tokens_after), 3)
