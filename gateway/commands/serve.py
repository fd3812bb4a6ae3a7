"""`forebay serve`: the gateway, and the engines that it supervises."""

from __future__ import annotations

from pathlib import Path

from gateway.commands.failure import errors_as_exit_status
from gateway.config.load import config_file, load_config


def serve(*, config: Path | None = None, port: int | None = None, host: str | None = None) -> None:
    """Start the gateway and its engine, and print how to use them.

    Without a configuration it serves the bundled engine's model as `smollm2` and `auto`; if OPENAI_API_KEY is
    set, all other model names go to OpenAI. A model that is not on this machine yet is downloaded first.

    Parameters
    ----------
    config
        Configuration file (default: forebay.yaml in the working directory, if there is one).
    port
        Port to listen on instead of the configured one; 0 takes a free one.
    host
        Address to listen on instead of the configured one.
    """
    with errors_as_exit_status():
        file = config_file(config)
        flags: dict[tuple[str, ...], object] = {("server", "port"): port, ("server", "host"): host}
        settings = load_config(file, flags=flags)
        # Imported here: the HTTP stack takes longer than all other commands together.
        from gateway.service import run

        run(settings, file, lambda: load_config(file, flags=flags))
