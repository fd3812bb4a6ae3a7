"""The types that the decision takes and gives; all of them plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from semantic_cache.gates.base import GateVerdict


class Encoding(Protocol):
    """What an embedder gives for a text; `semantic_cache.embed.base.Encoding` is one."""

    @property
    def vector(self) -> NDArray[np.float32]:
        """[dim], unit length."""

    @property
    def tokens(self) -> NDArray[np.float32]:
        """[n, dim] last hidden states, special tokens included; [0, dim] where the embedder gives none."""

    @property
    def spans(self) -> NDArray[np.int32]:
        """[n, 2] characters of each token in the text; (0, 0) for special tokens."""


class Observation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One label: how alike the question looked, and whether its fresh answer agreed with the stored one."""

    score: float
    """Log-odds of "same" that the shipped calibration gave."""
    same: bool
    eligible: bool = False
    """The pair would have been served; only such labels tell how often hits are wrong."""


class Observations(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The labels of an entry, oldest first; the service stores them with it and never looks inside."""

    model: str = ""
    """Calibration that the scores are of; labels of another one are dropped."""
    seen: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored question near the new one."""

    id: int
    text: str
    similarity: float
    encoding: Encoding | None
    history: Observations
    gates: tuple[GateVerdict, ...] = ()
    """What `Decider.screen` said of it; empty if it was not asked."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was found out about one candidate."""

    id: int
    gates: tuple[GateVerdict, ...]
    """Those that ran; the last one has not passed if the candidate was refused by a gate."""
    verifier: float | None
    """Log-odds of "same"; None if the verifier was not asked or abstained."""
    features: tuple[float, ...]
    """Input of the calibration, in the order of `features.NAMES`; empty if a gate refused."""
    score: float | None
    """Log-odds of "same" by the shipped calibration."""
    probability: float
    """Of "same", by shipped calibration, scope and entry together."""
    bound: float
    """Upper bound of the probability that the answer would be wrong."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Serve candidate `serve`; or go on as a miss and, if `explore`, compare the answer with `explored`'s."""

    serve: int | None
    explore: bool
    explored: int | None
    probability: float
    bound: float
    reason: str
    """One word or two for metrics and spans."""
    verdicts: tuple[Assessment, ...] = field(default_factory=tuple)


class Decider(Protocol):
    """Decides; keeps no state that is not given to it, so that the service can persist all of it."""

    def screen(self, text: str, stored: Sequence[str]) -> list[tuple[GateVerdict, ...]]:
        """Return what the gates say of each stored question: those that ran, the last one refusing if any.

        They need nothing but the texts, so nobody has to encode what they refuse.
        """

    def decide(
        self,
        text: str,
        encoding: Encoding,
        candidates: Sequence[Candidate],
        *,
        error_budget: float,
        seed: bytes,
        threshold: float | None = None,
        pool: Observations | None = None,
    ) -> Decision:
        """Return what to do with a question, given its neighbours, nearest first.

        `error_budget` is the largest share of wrong answers among hits; `threshold`, if given, is a cosine
        similarity below which nothing is served; `seed`, a digest of the request, decides what is explored;
        `pool` are the labels of the whole scope (or of a wider group that the service chooses).
        """

    def learn(
        self, history: Observations, assessment: Assessment, *, same: bool, keep: int = 32
    ) -> Observations:
        """Return an entry's (or a pool's) history with one more label, the newest `keep` in all."""
