"""What one request saved: money in whole nano-dollars, so that no sum loses any, and estimated time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Layer:
    """What one layer did for some requests; all of it is negative where it cost more than it saved."""

    requests: int = 0
    nano_usd: int = 0
    seconds: float = 0.0
    """An estimate."""


@dataclass(slots=True)
class Saved:
    """One request, as far as it has come: `direct - actual` is always the sum of its layers' money."""

    direct: int = 0
    """What the answer would have cost without us."""
    actual: int = 0
    """What it cost."""
    batch: int = 0
    """What it would have cost without us in a provider's batch."""
    priced: bool = True
    """Whether all prices and tokens are known; otherwise all money is zero."""
    layers: dict[str, Layer] = field(default_factory=dict)

    def add(self, layer: str, nano_usd: int = 0, seconds: float = 0.0, requests: int = 1) -> None:
        """Count what a layer did for the request."""
        counted = self.layers.get(layer)
        if counted is None:
            self.layers[layer] = Layer(requests, nano_usd, seconds)
        else:
            counted.requests += requests
            counted.nano_usd += nano_usd
            counted.seconds += seconds
