"""Decides for mode `auto` whether compressing a prompt pays, from what each upstream was seen to do.

A second of waiting has a price, so that time and money can be added up: compress only if the prefill time and
the money that fewer tokens save are worth more than the time that compressing takes and the tokens by which
answers grow. What is not known counts as nothing, so an upstream without a price, of which little was seen,
gets its prompts whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.config.schema import Price
from gateway.exchange import Call

USD_PER_HOUR = 10.0
"""What an hour of waiting is worth."""
FADE = 0.98
"""Weight of all that was seen, each time that something new is."""
LEAST_SEEN = 8.0
_MILLION = 1_000_000
_FIRST_S_PER_TOKEN = 100e-6
_FIRST_SHARE = 0.5


@dataclass(slots=True)
class Line:
    """A least-squares line through points that fade."""

    weight: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def see(self, x: float, y: float) -> None:
        """Add a point."""
        self.weight = FADE * self.weight + 1
        self.x = FADE * self.x + x
        self.y = FADE * self.y + y
        self.xx = FADE * self.xx + x * x
        self.xy = FADE * self.xy + x * y

    @property
    def slope(self) -> float | None:
        """The slope, not below 0; None if too little was seen, or always the same x."""
        spread = self.weight * self.xx - self.x * self.x
        if self.weight < LEAST_SEEN or spread <= 1e-6 * self.weight * self.xx:
            return None
        return max(0.0, (self.weight * self.xy - self.x * self.y) / spread)


@dataclass(slots=True)
class Mean:
    """A mean that fades."""

    weight: float = 0.0
    total: float = 0.0

    def see(self, value: float) -> None:
        """Add a value."""
        self.weight = FADE * self.weight + 1
        self.total = FADE * self.total + value

    def value(self, otherwise: float, least: float = 1.0) -> float:
        """Return the mean, or `otherwise` if less than `least` was seen."""
        return self.total / self.weight if self.weight >= least else otherwise


@dataclass(slots=True)
class _Upstream:
    prefill: Line = field(default_factory=Line)
    """Seconds to the first chunk over tokens that were not in the upstream's cache."""
    cached: Mean = field(default_factory=Mean)
    """Share of the prompt that was."""
    output: Mean = field(default_factory=Mean)
    output_compressed: Mean = field(default_factory=Mean)


class Economics:
    """What one worker has seen of its upstreams."""

    def __init__(self) -> None:
        self._upstreams: dict[tuple[str, str], _Upstream] = {}
        self._share = Mean()
        """Of the tokens that may go, those that went."""
        self._seconds = Mean()
        """That compressing took for a token."""

    def pays(self, upstream: str, model: str, price: Price | None, tokens: int) -> bool:
        """Return whether compressing `tokens` tokens, as far as they may be, is likely to pay."""
        seen = self._upstreams.get((upstream, model), _Upstream())
        saved = tokens * self._share.value(_FIRST_SHARE)
        seconds = saved * (seen.prefill.slope or 0.0) - tokens * self._seconds.value(_FIRST_S_PER_TOKEN)
        usd = 0.0 if price is None else self._usd(seen, price, saved)
        return seconds * USD_PER_HOUR / 3600 + usd > 0

    def compressed(self, tokens: int, saved: int, seconds: float) -> None:
        """Note what compressing came to."""
        if tokens > 0:
            self._share.see(saved / tokens)
            self._seconds.see(seconds / tokens)

    def called(self, call: Call, *, compressed: bool) -> None:
        """Note what an upstream did, once its answer is complete."""
        usage = call.outcome.usage
        if usage is None or call.error is not None or call.status != 200 or usage.input_tokens == 0:
            return
        seen = self._upstreams.setdefault((call.upstream, call.model), _Upstream())
        seen.cached.see(min(1.0, usage.cached_tokens / usage.input_tokens))
        (seen.output_compressed if compressed else seen.output).see(usage.output_tokens)
        if call.outcome.first_chunk_s is not None:
            seen.prefill.see(
                usage.input_tokens - usage.cached_tokens, call.outcome.first_chunk_s - call.started_s
            )

    @staticmethod
    def _usd(seen: _Upstream, price: Price, saved: float) -> float:
        cached = seen.cached.value(0.0)
        read = price.input if price.cache_read is None else price.cache_read
        plain, other = seen.output, seen.output_compressed
        growth = 0.0
        if min(plain.weight, other.weight) >= LEAST_SEEN:
            growth = max(0.0, other.value(0.0) - plain.value(0.0))
        return (saved * ((1 - cached) * price.input + cached * read) - growth * price.output) / _MILLION
