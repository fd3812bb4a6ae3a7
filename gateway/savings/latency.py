"""How long a model takes for so many tokens, learned from its own calls: for estimates, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.exchange import Call

_FADE = 0.99
"""Weight of all that was seen, each time that something new is."""
_LEAST_SEEN = 5.0
_SPREAD = 0.1
"""Of the root mean square of tokens: the least deviation from which a slope is read off."""
_MOST_MODELS = 1000


@dataclass(slots=True)
class _Fit:
    """Least squares of seconds over tokens read and tokens written, of points that fade."""

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    t: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0
    xt: float = 0.0
    yt: float = 0.0

    def see(self, x: float, y: float, t: float) -> None:
        self.n = _FADE * self.n + 1
        self.x = _FADE * self.x + x
        self.y = _FADE * self.y + y
        self.t = _FADE * self.t + t
        self.xx = _FADE * self.xx + x * x
        self.yy = _FADE * self.yy + y * y
        self.xy = _FADE * self.xy + x * y
        self.xt = _FADE * self.xt + x * t
        self.yt = _FADE * self.yt + y * t

    def slopes(self) -> tuple[float, float]:
        """Return seconds a token read and seconds a token written; zero for what cannot be told."""
        n = self.n
        vx, vy = self.xx / n - (self.x / n) ** 2, self.yy / n - (self.y / n) ** 2
        cxy = self.xy / n - self.x * self.y / n**2
        cxt, cyt = self.xt / n - self.x * self.t / n**2, self.yt / n - self.y * self.t / n**2
        # Of tokens that hardly vary a slope would be noise, and far from them all of the estimate.
        x_varies, y_varies = vx > _SPREAD**2 * self.xx / n, vy > _SPREAD**2 * self.yy / n
        if x_varies and y_varies and (spread := vx * vy - cxy * cxy) > 1e-3 * vx * vy:
            read, written = (cxt * vy - cyt * cxy) / spread, (cyt * vx - cxt * cxy) / spread
            if read >= 0 and written >= 0:
                return read, written
        # One of them alone, the one that explains more: more tokens never take less time.
        read = max(0.0, cxt / vx) if x_varies else 0.0
        written = max(0.0, cyt / vy) if y_varies else 0.0
        return (0.0, written) if written * cyt >= read * cxt else (read, 0.0)


class Latencies:
    """What this worker has seen of each model of the configuration."""

    def __init__(self) -> None:
        self._fits: dict[str, _Fit] = {}

    def see(self, call: Call) -> None:
        """Note a call that is over."""
        usage = call.outcome.usage
        if usage is None or call.error is not None or call.status != 200 or call.ended_s is None:
            return
        fit = self._fits.get(call.model)
        if fit is None:
            if len(self._fits) >= _MOST_MODELS:
                return
            fit = self._fits[call.model] = _Fit()
        read = max(0, usage.input_tokens - usage.cached_tokens)
        fit.see(read, usage.output_tokens, call.ended_s - call.started_s)

    def seconds(self, model: str, read: int, written: int) -> float | None:
        """Return how long a call would take; None if too little was seen of the model."""
        fit = self._known(model)
        if fit is None:
            return None
        per_read, per_written = fit.slopes()
        seconds = fit.t + per_read * (fit.n * read - fit.x) + per_written * (fit.n * written - fit.y)
        return max(0.0, seconds / fit.n)

    def seconds_per_token_read(self, model: str) -> float:
        """Return how much longer a call takes for one more token of prompt; zero if that is not known."""
        fit = self._known(model)
        return 0.0 if fit is None else fit.slopes()[0]

    def _known(self, model: str) -> _Fit | None:
        fit = self._fits.get(model)
        return None if fit is None or fit.n < _LEAST_SEEN else fit
