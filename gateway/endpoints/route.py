"""What routes are made of, for the endpoints and whoever finds the one that a request means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

Key: TypeAlias = tuple[str, str]
"""A route's method and path, which may have `{parameters}`."""
Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

PARAMETERS = web.RequestKey("parameters", dict[str, str])
"""The values of the path's parameters, in the request."""
