"""The `forebay` command."""

from __future__ import annotations

from cyclopts import App, Group

from gateway.commands import unbuilt
from gateway.commands.bench import bench
from gateway.commands.cache import cache_app
from gateway.commands.config import check, show
from gateway.commands.engine import engine
from gateway.commands.keys import keys_app
from gateway.commands.route import route_app
from gateway.commands.serve import serve
from gateway.models.cli import models_app
from telemetry.version import __version__

HELP = """An OpenAI-compatible caching gateway for LLMs, with an inference engine of its own.

`forebay serve` starts both on this machine and prints how to use them; point any OpenAI client at its URL.
`forebay COMMAND --help` explains a command.
"""


def build_app() -> App:
    """Return the command line with all its commands."""
    app = App(name="forebay", help=HELP, version=__version__)
    run, manage = Group("Run", sort_key=1), Group("Manage", sort_key=2)
    app.command(serve, group=run)
    app.command(engine, group=run)
    models_app.group = (manage,)
    app.command(models_app)
    keys_app.group = (manage,)
    app.command(keys_app)
    cache_app.group = (manage,)
    app.command(cache_app)
    route_app.group = (manage,)
    app.command(route_app)
    config = App(name="config", group=manage, help="Check the configuration, or show what is in effect.")
    config.command(check)
    config.command(show)
    app.command(config)
    app.command(bench, group=manage)
    for name in unbuilt.COMMANDS:
        app.command(unbuilt.command(name), name=name, show=False, help_flags=[], version_flags=[])
    for name in unbuilt.CONFIG_COMMANDS:
        refused = unbuilt.command(f"config {name}")
        config.command(refused, name=name, show=False, help_flags=[], version_flags=[])
    return app


def main() -> None:
    """Run the command line."""
    build_app()()
