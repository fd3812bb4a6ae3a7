"""How much of a prompt may go (`off`, `lossless`, `auto`, `ratio:N` or `fit`), and what takes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Stage: TypeAlias = Literal["json", "lines", "space", "duplicates", "cut", "select", "prune"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Kind: TypeAlias = Literal["off", "lossless", "auto", "ratio", "fit"]
Way: TypeAlias = Literal["longer", "compress", "retrieve", "window", "summarise"]
WAYS: tuple[Way, ...] = get_args(Way)
"""What can be done about a prompt that is longer than its model's window."""
_RATIO = re.compile(r"ratio:(\d{1,2}(?:\.\d)?)")
LARGEST_RATIO = 20.0
CHOICES = (
    "off, lossless, auto, ratio:N with N from 1.5 to 20, fit, or fit:WAY with one of the ways "
    + ", ".join(WAYS)
)


class BadMode(ValueError):
    """It is none of the modes."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode as it was asked for."""

    kind: Kind
    ratio: float = 0.0
    """For `ratio`: how many times smaller each message that can be compressed becomes."""
    way: Way | None = None
    """For `fit`: what is tried first; without it, what suits the question."""

    @property
    def label(self) -> str:
        """The one way in which it is written; answers of different labels never share a cache entry."""
        if self.kind == "ratio":
            return f"ratio:{self.ratio:g}"
        return self.kind if self.way is None else f"{self.kind}:{self.way}"

    @property
    def drops(self) -> bool:
        """Whether text may go that cannot be had back from what stays."""
        return self.kind in ("auto", "ratio")


OFF = Mode("off")
LOSSLESS = Mode("lossless")
AUTO = Mode("auto")
FIT = Mode("fit")
"""Only what does not fit becomes shorter."""
_PLAIN: dict[str, Mode] = {
    mode.label: mode for mode in (OFF, LOSSLESS, AUTO, FIT, *(Mode("fit", way=way) for way in WAYS))
}


def read_mode(text: str) -> Mode:
    """Return the mode that a configuration or a header names. Raises BadMode."""
    if plain := _PLAIN.get(text):
        return plain
    if (found := _RATIO.fullmatch(text)) and 1.5 <= (ratio := float(found[1])) <= LARGEST_RATIO:
        return Mode("ratio", ratio)
    raise BadMode(f"must be {CHOICES}")
