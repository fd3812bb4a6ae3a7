"""What the gateway says of a request in headers: whose it is, how urgent, and until when it is wanted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from backend_engine.errors import InvalidRequest
from backend_engine.protocol import DEADLINE_HEADER, MAX_PRIORITY, PRIORITY_HEADER, SALT_HEADER

MAX_SALT_CHARS = 256
MAX_DEADLINE_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Caller:
    """Headers of one API request, checked.

    `priority` stands before the body's: a gateway decides over its clients. `deadline` is a reading of
    `time.monotonic()`.
    """

    salt: str = ""
    priority: int | None = None
    deadline: float | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Caller:
        """Read `headers`; raises InvalidRequest naming one that is malformed or out of range."""
        salt = headers.get(SALT_HEADER, "")
        if len(salt) > MAX_SALT_CHARS:
            raise InvalidRequest(
                f"'{SALT_HEADER}' has at most {MAX_SALT_CHARS} characters.", param=SALT_HEADER
            )
        priority = _integer(headers, PRIORITY_HEADER, -MAX_PRIORITY, MAX_PRIORITY)
        milliseconds = _integer(headers, DEADLINE_HEADER, 1, MAX_DEADLINE_MS)
        deadline = None if milliseconds is None else time.monotonic() + milliseconds / 1000
        return cls(salt, priority, deadline)


def _integer(headers: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    raw = headers.get(name)
    if raw is None:
        return None
    try:
        value = int(raw)
    except ValueError:
        raise InvalidRequest(f"'{name}' is {raw[:40]!r}, not an integer.", param=name) from None
    if not low <= value <= high:
        raise InvalidRequest(f"'{name}' must be between {low} and {high}, not {value}.", param=name)
    return value
