"""Verifies drafts: a drafted token stands if it is the one that would have been drawn in its place.

A drafter names one token a position: its distribution is a point mass at that token d. Rejection sampling
(Leviathan et al., arXiv 2211.17192; Chen et al., arXiv 2302.01318) accepts d with probability p(d) and
otherwise draws from p without d. Drawing x from p and accepting d if x = d does both at once: it happens with
probability p(d), and given x != d, x is distributed as p without d. Since a draw is a function of seed and
position (see `sampler.uniform`), the text is not only distributed as without speculation, it is the same.

Each sequence is advanced by a token before its next is drawn. So penalties, bias, `min_tokens`, stop strings
and grammars see at each drafted position exactly the state that they would see without a draft.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backend_engine.request import Request, Status


@dataclass(slots=True)
class Verification:
    """A sequence whose next token is due, and after it those of its draft as long as they are right.

    Row `first_row + i` of the step's logits is what the model says after the sequence and the first i tokens
    of the draft, so it counts only if those are right.
    """

    request: Request
    first_row: int
    draft: Sequence[int] = ()
    num_accepted: int = 0

    @property
    def row(self) -> int:
        """The row of the logits that the next token is drawn from."""
        return self.first_row + self.num_accepted


Advance = Callable[[Sequence[Verification]], Sequence[int]]
"""Draws the next token of each sequence from its `row`, appends it, and returns the tokens."""


def verify(verifications: Sequence[Verification], advance: Advance) -> None:
    """Advance all sequences by a token, then again those whose draft it agrees with, and so on."""
    pending = list(verifications)
    while pending:
        going_on = []
        for item, token in zip(pending, advance(pending), strict=True):
            if item.num_accepted < len(item.draft) and token == item.draft[item.num_accepted]:
                item.num_accepted += 1
                # The right token may have been the last: an end token, a stop string, a limit.
                if item.request.status is Status.RUNNING:
                    going_on.append(item)
        pending = going_on
