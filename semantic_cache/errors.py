"""Everything this package raises on purpose.

CacheError
├── BadDirective        a caching instruction of the request has a value that means nothing; names the place
├── NotCanonical        the request has no key: two readers of its JSON could disagree, so it is not cached
├── NotReplayable       the answer holds something that a replay would lose, so it is not stored
├── CorruptEntry        stored bytes are not the entry that was written; counts as a miss
├── BadStoreUrl         the store's URL, or what it points to, cannot be used: an error of the configuration
└── StoreUnavailable    the store is down, slow or full of work; the request goes on without it
"""

from __future__ import annotations


class CacheError(Exception):
    """Root of the cache's exceptions."""


class BadDirective(CacheError):
    """A caching instruction cannot be understood. `param` names the header or body field."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class NotCanonical(CacheError):
    """The request's JSON has no canonical form. `reason` is one word for metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The request has no canonical form: {reason}.")
        self.reason = reason


class NotReplayable(CacheError):
    """The answer cannot be stored without losing part of it. `reason` is one word for metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The answer cannot be replayed: {reason}.")
        self.reason = reason


class CorruptEntry(CacheError):
    """Stored bytes fail their checksum, or are of another key or schema."""


class BadStoreUrl(CacheError):
    """The store's URL cannot be used. The message never quotes a password."""


class StoreUnavailable(CacheError):
    """The store did not do it in time, or is known to be down and was not asked."""
