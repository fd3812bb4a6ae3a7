"""Commands of the design whose part does not exist yet: naming one says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from gateway.commands.failure import EXIT_USAGE, fail

COMMANDS = ("chat", "trace", "batch", "doctor")
CONFIG_COMMANDS = ("import-litellm",)

AnyArguments = Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]


def command(name: str) -> Callable[..., None]:
    """Return a command that takes anything and refuses."""

    def refuse(*arguments: AnyArguments) -> None:
        raise fail(f"the command '{name}' is not built yet", EXIT_USAGE)

    return refuse
