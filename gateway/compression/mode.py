"""How much of a prompt may go (`off`, `lossless`, `auto` or `ratio:N`), and the stages that take it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Stage: TypeAlias = Literal["json", "lines", "space", "duplicates", "cut", "select", "prune"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Kind: TypeAlias = Literal["off", "lossless", "auto", "ratio"]
_RATIO = re.compile(r"ratio:(\d{1,2}(?:\.\d)?)")
LARGEST_RATIO = 20.0
CHOICES = "off, lossless, auto or ratio:N with N from 1.5 to 20"
NOT_BUILT = "fit"


class BadMode(ValueError):
    """It is none of the modes."""


class UnbuiltMode(ValueError):
    """It is a mode of the design that does not exist yet."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode as it was asked for."""

    kind: Kind
    ratio: float = 0.0
    """For `ratio`: how many times smaller each message that can be compressed becomes."""

    @property
    def label(self) -> str:
        """The one way in which it is written; answers of different labels never share a cache entry."""
        return f"ratio:{self.ratio:g}" if self.kind == "ratio" else self.kind

    @property
    def drops(self) -> bool:
        """Whether text may go that cannot be had back from what stays."""
        return self.kind in ("auto", "ratio")


OFF = Mode("off")
LOSSLESS = Mode("lossless")
AUTO = Mode("auto")
_PLAIN: dict[str, Mode] = {mode.kind: mode for mode in (OFF, LOSSLESS, AUTO)}


def read_mode(text: str) -> Mode:
    """Return the mode that a configuration or a header names. Raises BadMode, UnbuiltMode."""
    if plain := _PLAIN.get(text):
        return plain
    if text == NOT_BUILT:
        raise UnbuiltMode(text)
    if (found := _RATIO.fullmatch(text)) and 1.5 <= (ratio := float(found[1])) <= LARGEST_RATIO:
        return Mode("ratio", ratio)
    raise BadMode(f"must be {CHOICES}")
