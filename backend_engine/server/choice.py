"""One choice of an answer: pairs text that is certain with the log-probabilities of its tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend_engine.engine import TokenOutput
from backend_engine.request import FinishReason, Request
from backend_engine.sampling.logprobs import PositionLogprobs


@dataclass(frozen=True, slots=True)
class Delta:
    """What one token added to a choice."""

    text: str
    logprobs: list[PositionLogprobs]
    """Of the tokens whose text has been given out since the last delta."""
    offsets: list[int]
    """Where each of those tokens begins in the choice's text, in characters."""
    finish_reason: FinishReason | None


@dataclass(slots=True, eq=False)
class Choice:
    """Collects one sequence's outputs.

    A token's log-probabilities go out with its text: neither before it, nor at all if a stop string
    swallowed the text.
    """

    index: int
    request: Request
    text: str = ""
    logprobs: list[PositionLogprobs] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    _num_chars: int = 0
    _held: list[tuple[int, PositionLogprobs]] = field(default_factory=list)

    def take(self, output: TokenOutput) -> Delta:
        """Add one step's output and return what is new."""
        self.text += output.text
        stopped_by_text = self.request.detokenizer.stopped
        # A grammar may end an answer with an ordinary token.
        adds_text = output.num_chars > self._num_chars
        is_end_token = output.finish_reason == "stop" and not stopped_by_text and not adds_text
        if output.logprobs is not None and not is_end_token:
            self._held.append((self._num_chars, output.logprobs))
        self._num_chars = output.num_chars
        self.finish_reason = output.finish_reason
        all_certain = output.finish_reason is not None and not stopped_by_text
        released = [item for item in self._held if all_certain or item[0] < len(self.text)]
        del self._held[: len(released)]
        offsets = [offset for offset, _ in released]
        logprobs = [position for _, position in released]
        self.offsets += offsets
        self.logprobs += logprobs
        return Delta(output.text, logprobs, offsets, output.finish_reason)
