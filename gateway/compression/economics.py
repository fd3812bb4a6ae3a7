"""Decides for mode `auto` whether compressing a prompt pays, from what each upstream was seen to do.

A second of waiting has a price, so that time and money can be added up: compress only if the prefill time and
the money that fewer tokens save are worth more than the time that compressing takes and the tokens by which
answers grow. What is not known counts as nothing, so an upstream without a price, of which little was seen,
gets its prompts whole.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.config.schema import Price
from gateway.exchange import Call

USD_PER_HOUR = 10.0
"""What an hour of waiting is worth."""
FADE = 0.98
"""Weight of all that was seen, each time that something new is."""
LEAST_SEEN = 8.0
MOST_MODELS = 256
"""Names behind the star are the callers' invention: the one that was not used for longest is forgotten."""
SPREAD = 0.6
"""Standard deviation of the logarithm of an answer's length that is reckoned with."""
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
    """A weighted mean that fades."""

    weight: float = 0.0
    total: float = 0.0

    def see(self, value: float, weight: float = 1.0) -> None:
        """Add a value."""
        self.weight = FADE * self.weight + weight
        self.total = FADE * self.total + value * weight

    def value(self, otherwise: float) -> float:
        """Return the mean, or `otherwise` if nothing was seen."""
        return self.total / self.weight if self.weight > 0 else otherwise


@dataclass(frozen=True, slots=True)
class Gain:
    """What compressing a prompt is expected to bring, in US dollars."""

    shorter: float
    """What fewer tokens save, less the time that compressing takes."""
    growth: float
    """What longer answers cost."""

    @property
    def pays(self) -> bool:
        """Whether it is worth it."""
        return self.shorter - self.growth > 0


@dataclass(slots=True)
class _Upstream:
    prefill: Line = field(default_factory=Line)
    """Seconds to the first chunk over tokens that were not in the upstream's cache."""
    decode: Mean = field(default_factory=Mean)
    """Seconds for a token of an answer."""
    cached: Mean = field(default_factory=Mean)
    """Share of the prompts' tokens that were in its cache."""
    whole: Mean = field(default_factory=Mean)
    """Logarithm of an answer's tokens, of prompts that might have been compressed and were not."""
    compressed: Mean = field(default_factory=Mean)
    """The same of those that were."""

    def growth(self) -> float:
        """Return the tokens by which answers are expected to grow."""
        one, other = self.whole, self.compressed
        if min(one.weight, other.weight) == 0:
            return 0.0
        usual = one.value(0.0)
        # Logarithms, so that one long answer does not decide; less what chance alone may do.
        chance = SPREAD * math.sqrt(1 / one.weight + 1 / other.weight)
        return math.exp(usual) * math.expm1(max(0.0, other.value(0.0) - usual - chance))


class Economics:
    """What one worker has seen of its upstreams."""

    def __init__(self) -> None:
        self._upstreams: OrderedDict[tuple[str, str], _Upstream] = OrderedDict()
        self._share = Mean()
        """Of the tokens that may go, those that went."""
        self._seconds = Mean()
        """That compressing took for a token."""

    def __len__(self) -> int:
        return len(self._upstreams)

    def gain(self, upstream: str, model: str, price: Price | None, tokens: int) -> Gain:
        """Return what compressing `tokens` tokens, as far as they may be, is expected to bring."""
        seen = self._upstreams.get((upstream, model), _Upstream())
        price = price or Price(input=0.0, output=0.0)
        cached = seen.cached.value(0.0)
        read = price.input if price.cache_read is None else price.cache_read
        saved = tokens * self._share.value(_FIRST_SHARE)
        seconds = saved * (1 - cached) * (seen.prefill.slope or 0.0)
        seconds -= tokens * self._seconds.value(_FIRST_S_PER_TOKEN)
        usd = saved * ((1 - cached) * price.input + cached * read) / _MILLION
        growth = seen.growth()
        return Gain(
            usd + _worth(seconds),
            growth * price.output / _MILLION + _worth(growth * seen.decode.value(0.0)),
        )

    def knows_growth(self, upstream: str, model: str) -> bool:
        """Return whether enough answers of both kinds were seen to tell whether they grow."""
        seen = self._upstreams.get((upstream, model), _Upstream())
        return min(seen.whole.weight, seen.compressed.weight) >= LEAST_SEEN

    def compressed(self, tokens: int, saved: int, seconds: float) -> None:
        """Note what compressing came to."""
        if tokens > 0:
            self._share.see(saved / tokens, tokens)
            self._seconds.see(seconds / tokens, tokens)

    def called(self, call: Call, model: str, *, compressed: bool | None) -> None:
        """Note what an upstream did, once its answer is complete.

        `compressed` is None if the prompt was not one to decide about, and tells nothing of growth.
        """
        usage = call.outcome.usage
        if usage is None or call.error is not None or call.status != 200 or usage.input_tokens == 0:
            return
        seen = self._upstreams.setdefault((call.upstream, model), _Upstream())
        self._upstreams.move_to_end((call.upstream, model))
        if len(self._upstreams) > MOST_MODELS:
            self._upstreams.popitem(last=False)
        seen.cached.see(min(1.0, usage.cached_tokens / usage.input_tokens), usage.input_tokens)
        if compressed is not None:
            (seen.compressed if compressed else seen.whole).see(math.log(max(1, usage.output_tokens)))
        first_s = call.outcome.first_chunk_s
        if first_s is None:
            return
        seen.prefill.see(usage.input_tokens - usage.cached_tokens, first_s - call.started_s)
        if call.ended_s is not None and usage.output_tokens > 0:
            seen.decode.see((call.ended_s - first_s) / usage.output_tokens, usage.output_tokens)


def _worth(seconds: float) -> float:
    return seconds * USD_PER_HOUR / 3600
