"""Reads what the parent says first: the options, one line of JSON on standard input."""

from __future__ import annotations

import os
import sys

import msgspec

from semantic_cache.semantic.launcher import SemanticOptions

_MOST = 65_536


def read_options() -> SemanticOptions:
    """Return the options. Raises ValueError if what comes is not one line of them.

    Read a byte at a time, since what follows belongs to whoever watches for the parent's end.
    """
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte or len(line) >= _MOST:
            raise ValueError("there are no options on standard input")
        line += byte
    try:
        return msgspec.json.decode(line, type=SemanticOptions)
    except msgspec.DecodeError as error:
        raise ValueError(f"the options cannot be read: {error}") from None
