"""What the router raises.

RouterError
├── BadOutcomes      an outcome log that cannot be read
├── BadPolicy        a learned policy that cannot be read
└── TooFewOutcomes   not enough outcomes to learn from
"""

from __future__ import annotations


class RouterError(Exception):
    """Anything that the router raises on purpose."""


class BadOutcomes(RouterError):
    """An outcome log is not JSON Lines of outcomes; the message names the line."""


class BadPolicy(RouterError):
    """A file is no policy; the message says where it is not."""


class TooFewOutcomes(RouterError):
    """What was asked for cannot be learned from so few outcomes."""
