"""What was done about a prompt that was longer than the window of its model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fitted:
    """How a call's prompt came to fit. Tokens are of the whole prompt."""

    strategy: str
    """The ways that were used, such as `window`; `turns` if old turns of the conversation were left out."""
    model: str
    """The model that answers, by its name in the config."""
    window: int
    """Tokens that its prompt and answer may have together."""
    tokens_before: int
    tokens_after: int
    exact: bool
    """The upstream counted the tokens; otherwise they are estimates."""
    windows: int
    """Parts in which the model read what did not fit."""
    left_out: int
    """Messages that were left out."""
    calls: int
    """Calls that were made for it."""
    seconds: float
    shorter: bool
    """The prompt itself became shorter; otherwise it went whole to another model."""
    partial: bool = False
    """Some of its calls failed, so that with some luck the next one is made better."""
