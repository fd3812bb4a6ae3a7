"""The calls that a request makes of its own while it is made to fit: bounded, counted, and told of."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gateway.config.schema import FitConfig
from gateway.errors import GatewayError, UpstreamGarbage
from gateway.exchange import Exchange
from gateway.subrequests import Subrequests
from gateway.window.base import CannotShorten, Progress
from gateway.window.underway import Tell

PASSAGES = "passages"
"""The step in which nobody is asked: passages are compared with the question."""


@dataclass(slots=True)
class Calls:
    """Those of one request."""

    ex: Exchange
    """Whose account they are on, and under whose span they stand."""
    model: str
    subrequests: Subrequests
    config: FitConfig
    on_progress: Tell
    """Gets None before the first call."""
    made: int = 0
    failed: set[str] = field(default_factory=set)
    """Prompts that got no answer when they were sent: what they ask about has not been read."""
    windows: int = 0
    """The most parts that a text was read in."""
    _free: asyncio.Semaphore = field(init=False)
    _deadline_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.config.parallel)
        self._deadline_s = asyncio.get_running_loop().time() + self.config.deadline_s

    async def ask(self, prompt: str, max_tokens: int) -> str:
        """Return the model's answer. Raises CannotShorten once there is no time or no call left, and
        GatewayError."""
        late = CannotShorten(f"it takes more than {self.config.deadline_s:g} seconds")
        if asyncio.get_running_loop().time() >= self._deadline_s:
            raise late
        try:
            async with asyncio.timeout_at(self._deadline_s), self._free:
                if self.made >= self.config.max_calls:
                    raise CannotShorten(f"it takes more than {self.config.max_calls} calls")
                if self.made == 0:
                    self.on_progress(None)
                self.made += 1
                text = await self._said(prompt, max_tokens)
        except TimeoutError:
            raise late from None
        except GatewayError:
            self.failed.add(prompt)
            raise
        self.failed.discard(prompt)
        return text

    def left(self) -> int:
        """Return how many more may be made."""
        return self.config.max_calls - self.made

    def tell(self, progress: Progress) -> None:
        """Take note of how far it has come, and tell the client if it listens."""
        if progress.step != PASSAGES:
            self.windows = max(self.windows, progress.of)
        self.on_progress(progress)

    async def _said(self, prompt: str, max_tokens: int) -> str:
        said = await self.subrequests.ask(self.ex, self._body(prompt, max_tokens))
        if said.status != 200:
            raise UpstreamGarbage(f"A call of the request's own was answered with status {said.status}.")
        return said.text

    def _body(self, prompt: str, max_tokens: int) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": prompt}]}
        assert self.ex.view is not None
        if "max_completion_tokens" in self.ex.view.spans:
            # Models that want this name often refuse a temperature.
            return {**body, "max_completion_tokens": max_tokens}
        return {**body, "max_tokens": max_tokens, "temperature": 0}
