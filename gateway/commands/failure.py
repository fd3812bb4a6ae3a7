"""How a command fails: one line on standard error and an exit status, no traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from gateway.errors import ConfigError, GatewayError

EXIT_FAILED = 1
EXIT_USAGE = 2


def fail(message: str, status: int = EXIT_FAILED) -> SystemExit:
    """Print `message` and return the exception that ends the command."""
    sys.stderr.write(f"forebay: {message}\n")
    return SystemExit(status)


@contextlib.contextmanager
def errors_as_exit_status() -> Iterator[None]:
    """End the command with the status that a GatewayError stands for."""
    try:
        yield
    except ConfigError as error:
        raise fail(str(error), EXIT_USAGE) from None
    except GatewayError as error:
        raise fail(str(error)) from None
