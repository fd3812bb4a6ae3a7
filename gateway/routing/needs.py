"""What a request needs of a model, and which tiers of a route have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.exchange import Route
from gateway.routing.capabilities import Can
from gateway.wire.asked import Asked


@dataclass(frozen=True, slots=True)
class Needs:
    """What the request has that not every model takes."""

    tools: bool = False
    vision: bool = False
    json: bool = False


def needs_of(asked: Asked) -> Needs:
    """Return what a request needs."""
    kind = (asked.format() or {}).get("type")
    return Needs(bool(asked.tools), asked.has_pictures(), kind in ("json_object", "json_schema"))


def lacks(can: Can, needs: Needs) -> str | None:
    """Return what a model lacks for a request, None if it can take it."""
    if needs.tools and not can.tools:
        return "takes no tools"
    if needs.vision and not can.vision:
        return "takes no pictures"
    if needs.json and not can.json:
        return "has no JSON formats"
    return None


@dataclass(frozen=True, slots=True)
class Able:
    """Which tiers can take a request."""

    tiers: tuple[bool, ...]
    why: str
    """What keeps the smallest of the others from it, in a line; empty if all can."""


def able(routes: Sequence[Route], lacking: Callable[[Route], str | None]) -> Able:
    """Return which of a route's tiers can take a request; `lacking` says what one of them lacks.

    If none can, the last one shall say so itself: its error is the truth.
    """
    found = [lacking(route) for route in routes]
    why = next((f"{route.label} {lack}" for route, lack in zip(routes, found, strict=True) if lack), "")
    return Able((*(lack is None for lack in found[:-1]), found[-1] is None or all(found)), why)
