"""Ids that nobody can guess and nobody else has, without a system call for each."""

from __future__ import annotations

import itertools
import os
import secrets
from hashlib import blake2b

_numbers = itertools.count()
_secret = secrets.token_bytes(32)


def new_id() -> str:
    """Return 32 hexadecimal digits.

    A keyed hash of a number (RFC 7693, section 2.9) is as good as 128 fresh random bits. The process's own
    number keeps a forked child from repeating its parent.
    """
    return blake2b(b"%d %d" % (os.getpid(), next(_numbers)), key=_secret, digest_size=16).hexdigest()
