"""What a call of a tier usually takes: tokens and seconds, as means that forget slowly."""

from __future__ import annotations

from dataclasses import dataclass

_NEW = 0.02


@dataclass(slots=True)
class Usual:
    """Running means; the first observations count in full."""

    calls: int = 0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    seconds: float = 0.0

    def take(self, input_tokens: int, output_tokens: int, seconds: float) -> None:
        """Take one call that was answered."""
        self.calls += 1
        new = max(_NEW, 1 / self.calls)
        self.input_tokens += new * (input_tokens - self.input_tokens)
        self.output_tokens += new * (output_tokens - self.output_tokens)
        self.seconds += new * (seconds - self.seconds)
