"""`forebay bench NAME`: runs `python -m benchmarks.NAME`."""

from __future__ import annotations

import os
import pkgutil
import sys
from importlib.util import find_spec
from typing import Annotated

from cyclopts import Parameter

from gateway.commands.failure import EXIT_USAGE, fail


def bench(
    name: str,
    /,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> None:
    """Run a benchmark; what follows its name goes to it.

    Parameters
    ----------
    name
        The benchmark; a name that does not exist lists those that do.
    arguments
        Options of the benchmark, such as --json. `forebay bench NAME -- --help` shows them.
    """
    known = _names()
    if name not in known:
        raise fail(f"there is no benchmark '{name}' (there are: {', '.join(known) or 'none'})", EXIT_USAGE)
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    os.execv(command[0], command)


def _names() -> list[str]:
    spec = find_spec("benchmarks")
    folders = spec.submodule_search_locations if spec is not None else None
    return sorted(module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_"))
