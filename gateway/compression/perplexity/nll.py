"""How surprising the tokens of a text are to a language model: negative log-likelihoods, in nats.

An engine tells them as `prompt_logprobs` (vLLM's shape), without saying where in the text a token stands.
That is found from the tokens' own bytes, all or nothing: a text to which they do not add up is not scored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import msgspec

REPLACEMENT = "\ufffd"


class Misaligned(ValueError):
    """The tokens do not add up to the text, so nobody knows which of its words they are about."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token: `text[start:end]`, whose characters it holds at least in part, and how surprising it was."""

    start: int
    end: int
    nll: float


Score: TypeAlias = Callable[[Sequence[str]], Awaitable[list[list[Token]] | None]]
"""Tokens of each text, or None if there is nobody to say. The first token of a text has an NLL of 0."""


class PromptToken(msgspec.Struct, frozen=True):
    """One entry of `prompt_logprobs`."""

    logprob: float
    decoded_token: str | None = None
    own_bytes: list[int] | None = msgspec.field(name="bytes", default=None)
    """Only of tokens that are no text by themselves, such as half of a character."""

    @property
    def content(self) -> bytes:
        """The token's bytes. Raises Misaligned if nobody said them."""
        try:
            if self.own_bytes is not None:
                return bytes(self.own_bytes)
        except ValueError:
            raise Misaligned("a token has bytes that are none") from None
        if self.decoded_token is None or REPLACEMENT in self.decoded_token:
            raise Misaligned("a token has no text of its own")
        return self.decoded_token.encode()


Position: TypeAlias = Mapping[str, PromptToken] | None


def aligned(text: str, positions: Sequence[Position]) -> list[Token]:
    """Return a text's tokens from its `prompt_logprobs`, which must hold no rivals. Raises Misaligned.

    Of the first token, of which nothing is said, the length is what the others leave; it is 0 for a token
    that only marks the beginning.
    """
    if not positions:
        raise Misaligned("nothing is said of the text")
    content = text.encode()
    entries = [_only(position) for position in positions[1:]]
    pieces = [entry.content for entry in entries]
    ends = [len(content) - sum(map(len, pieces))]
    if ends[0] < 0:
        raise Misaligned("the tokens are longer than the text")
    for piece in pieces:
        if content[ends[-1] : ends[-1] + len(piece)] != piece:
            raise Misaligned("the tokens say something else than the text")
        ends.append(ends[-1] + len(piece))
    spans = _in_characters(text, len(content), [0, *ends])
    return [
        Token(start, end, nll)
        for (start, end), nll in zip(spans, [0.0, *(-entry.logprob for entry in entries)], strict=True)
    ]


def _only(position: Position) -> PromptToken:
    if position is None or len(position) != 1:
        raise Misaligned("a position does not hold one token")
    return next(iter(position.values()))


def _in_characters(text: str, size: int, bounds: Sequence[int]) -> list[tuple[int, int]]:
    if size == len(text):
        return list(pairwise(bounds))
    begins = [0]
    for character in text:
        begins.append(begins[-1] + len(character.encode()))
    # A token that begins within a character begins with it, one that ends within a character ends behind it.
    return [
        (
            bisect_left(begins, start + 1) - 1 if end > start else bisect_left(begins, start),
            bisect_left(begins, end),
        )
        for start, end in pairwise(bounds)
    ]


def of_spans(tokens: Sequence[Token], text: str, spans: Sequence[tuple[int, int]]) -> list[list[float]]:
    """Return the NLLs of the tokens of each span of a text; the spans are in order and do not overlap.

    A token belongs to where its first character stands that is no white space: most tokenizers put the space
    before a word into its token.
    """
    found: list[list[float]] = [[] for _ in spans]
    place = 0
    for token in tokens:
        at = token.start
        while at < token.end and text[at].isspace():
            at += 1
        if at == token.end:
            continue
        while place < len(spans) and spans[place][1] <= at:
            place += 1
        if place < len(spans) and spans[place][0] <= at:
            found[place].append(token.nll)
    return found


def mean(nlls: Sequence[float]) -> float:
    """Return the mean NLL, the logarithm of the perplexity; 0 of nothing."""
    return sum(nlls) / len(nlls) if nlls else 0.0
