"""What the index raises.

CacheError
└── VectorIndexError
    ├── BadVector      a vector of the wrong width, or with a value that is no number
    └── IndexFull      the memory budget is used up, and nothing was given up for the new vector
"""

from __future__ import annotations

from semantic_cache.errors import CacheError


class VectorIndexError(CacheError):
    """Root of the index's exceptions."""


class BadVector(VectorIndexError):
    """A vector that cannot be stored or searched for."""


class IndexFull(VectorIndexError):
    """The memory budget is used up."""
