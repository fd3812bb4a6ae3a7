"""Ids that nobody can guess and nobody else has, without a system call for each."""

from __future__ import annotations

import itertools
import os
import secrets
from hashlib import blake2b


class _Ids:
    """A keyed hash of a number (RFC 7693, section 2.9) is as good as that many fresh random bits."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.renew()

    def renew(self) -> None:
        """Take another key."""
        self._hash = blake2b(key=secrets.token_bytes(32), digest_size=16)

    def next(self) -> str:
        hashed = self._hash.copy()
        hashed.update(b"%d" % next(self._numbers))
        return hashed.hexdigest()


_ids = _Ids()
# A forked child must not repeat its parent.
os.register_at_fork(after_in_child=_ids.renew)


def new_id() -> str:
    """Return 32 hexadecimal digits."""
    return _ids.next()
