"""What a drafter is: it guesses how sequences go on, and is told when they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from backend_engine.request import Request


@dataclass(frozen=True, slots=True)
class Want:
    """A request whose next tokens are to be guessed, at most `limit` (>= 1) of them."""

    request: Request
    limit: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A guess for one request, of at least one token.

    `source` and `evidence` say how well founded it is: drafts of one source with the same evidence are
    accepted about as often, and more evidence is better. Text drafters count the tokens of context that they
    recognised. A drafter that knows more gives `shares`: for each token how probable it finds it if those
    before it are right. With evidence and shares, each token that is right is evidence for the next one.
    """

    token_ids: tuple[int, ...]
    evidence: int = 0
    shares: tuple[float, ...] = ()
    source: str = "text"


class Drafter(Protocol):
    """Guesses continuations. A guess is one definite token a position, no distribution.

    It sees only a request's own tokens and what it may know of the same tenant (`Request.salt`): a draft
    changes how long an answer takes, so one made from another tenant's text would tell of that text.
    """

    taps: tuple[int, ...]
    """After so many of the target's layers it wants to see the residual stream; empty if it never looks."""

    def propose(self, wants: Sequence[Want]) -> list[list[Draft]]:
        """Return the guesses for each of `wants`, in their order; none where there is nothing to go by."""
        ...

    def see(self, requests: Sequence[Request], features: torch.Tensor) -> None:
        """Take what the target computed where it drew the last token of each of `requests`.

        features: fp32 [requests, taps, hidden].
        """
        ...

    def finished(self, request: Request) -> None:
        """Let go of `request`, which may never have been proposed for; its text may be remembered."""
        ...


class TextDrafter:
    """Part of the drafters that need nothing but tokens."""

    taps: tuple[int, ...] = ()

    def see(self, requests: Sequence[Request], features: torch.Tensor) -> None:
        """Do nothing; never called."""
