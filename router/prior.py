"""What is known of a small model's answers before a route has outcomes of its own.

The weights lie beside this file and come with the package. `python -m benchmarks.prior` makes them: from
questions that the benchmarks make up themselves, answered by the small model that comes with the gateway.
They know what an unsure answer looks like, and nothing of anybody's traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from router.after.confidence import Confidence
from router.before.query import QueryModel
from router.errors import BadPolicy

SHIPPED = Path(__file__).with_name("prior.json")


@dataclass(frozen=True, slots=True)
class Prior:
    """What to judge by as long as nothing else has been learned."""

    model: str
    """Whose answers were learned from."""
    outcomes: int
    """How many of them."""
    confidence: Confidence
    query: QueryModel | None
    """None if the query alone does not beat a coin on other kinds of questions than those learned from."""
    said: tuple[str, ...]
    """What was found of each, a line each."""


def load_prior(path: Path = SHIPPED) -> Prior:
    """Read a prior, by default the one that comes with the package. Raises BadPolicy."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Prior)
    except OSError as error:
        raise BadPolicy(f"{path}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise BadPolicy(f"{path}: {error}") from None


def save_prior(prior: Prior, path: Path) -> None:
    """Write a prior."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(prior), indent=1) + b"\n")
