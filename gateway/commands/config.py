"""`forebay config check` and `forebay config show`."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.commands.failure import errors_as_exit_status
from gateway.config.load import config_file, load_config
from gateway.config.show import as_yaml


def check(*, config: Path | None = None) -> None:
    """Say whether the configuration can be used, and if not, where it is wrong.

    Parameters
    ----------
    config
        The file to check (default: forebay.yaml in the working directory, if there is one).
    """
    with errors_as_exit_status():
        load_config(config)
    sys.stdout.write(f"{config_file(config) or 'the default configuration'} is fine\n")


def show(*, config: Path | None = None) -> None:
    """Print the configuration in effect: file, environment and defaults together, secrets masked.

    Parameters
    ----------
    config
        The file to read (default: forebay.yaml in the working directory, if there is one).
    """
    with errors_as_exit_status():
        sys.stdout.write(as_yaml(load_config(config)))
