"""How one request wants its tokens chosen, checked when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backend_engine.errors import InvalidRequest

MAX_STOP_STRINGS = 16
MAX_STOP_CHARS = 1024
MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """Sampling settings with OpenAI's and vLLM's names, ranges and meanings.

    Raises InvalidRequest naming the parameter that is out of range.
    """

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    """0 is greedy: the most likely token, the lowest id among equals."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all tokens."""
    min_p: float = 0.0
    """Drop tokens less likely than this share of the most likely one."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens in prompt or output (Keskar et al. 2019)."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    """Number of alternatives to report for each generated token; 0 reports the chosen one alone."""
    prompt_logprobs: int | None = None

    def __post_init__(self) -> None:
        _in_range("max_tokens", self.max_tokens, 1, None)
        _in_range("min_tokens", self.min_tokens, 0, self.max_tokens)
        _in_range("temperature", self.temperature, 0, 2)
        _in_range("top_p", self.top_p, 0, 1, open_low=True)
        _in_range("top_k", self.top_k, 0, None)
        _in_range("min_p", self.min_p, 0, 1)
        _in_range("presence_penalty", self.presence_penalty, -2, 2)
        _in_range("frequency_penalty", self.frequency_penalty, -2, 2)
        _in_range("repetition_penalty", self.repetition_penalty, 0, 10, open_low=True)
        _in_range("logprobs", self.logprobs, 0, MAX_TOP_LOGPROBS)
        _in_range("prompt_logprobs", self.prompt_logprobs, 0, MAX_TOP_LOGPROBS)
        for bias in self.logit_bias.values():
            _in_range("logit_bias", bias, -100, 100)
        if len(self.stop) > MAX_STOP_STRINGS:
            raise InvalidRequest(f"'stop' takes at most {MAX_STOP_STRINGS} strings.", param="stop")
        if any(not 1 <= len(stop) <= MAX_STOP_CHARS for stop in self.stop):
            raise InvalidRequest(f"A stop string has 1 to {MAX_STOP_CHARS} characters.", param="stop")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    @property
    def has_penalties(self) -> bool:
        return self.presence_penalty != 0 or self.frequency_penalty != 0 or self.repetition_penalty != 1


def _in_range(
    name: str, value: float | None, low: float, high: float | None, *, open_low: bool = False
) -> None:
    if value is None:
        return
    # Written so that NaN, which compares false with everything, is refused too.
    above = value > low if open_low else value >= low
    if not (above and (high is None or value <= high)):
        bounds = f"{'above' if open_low else 'at least'} {low}" + (
            "" if high is None else f" and at most {high}"
        )
        raise InvalidRequest(f"'{name}' must be {bounds}, not {value}.", param=name)
