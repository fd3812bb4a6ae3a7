"""What a gate is: two texts in, a verdict out; one that cannot decide refuses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What one gate says of a pair. `detail` names the number or word at fault, never a whole prompt."""

    gate: str
    passed: bool
    detail: str = ""
