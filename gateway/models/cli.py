"""The `forebay models` commands."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from cyclopts import App
from rich.console import Console
from rich.table import Table

from gateway.models.errors import ModelStoreError
from gateway.models.pull import pull as pull_model
from gateway.models.store import ModelStore

models_app = App(name="models", help="Download, list and remove models.")


@models_app.command
def pull(name: str, /, *, quiet_if_present: bool = False) -> None:
    """Download a model and check it.

    Parameters
    ----------
    name
        A short name (smollm2), a Hugging Face repository (ORG/NAME, or ORG/NAME:FILE.gguf), or a local path.
    quiet_if_present
        Print nothing if the model is already here.
    """
    with _errors_as_exit_status():
        pull_model(name, ModelStore(), quiet_if_present)


@models_app.command(name="list")
def list_models() -> None:
    """Show the models on this machine, and those with a short name that are not."""
    store = ModelStore()
    present = store.list()
    table = Table("model", "size", "where", box=None, pad_edge=False)
    for model in present:
        where = f"-> {model.path}" if model.referenced else str(model.path)
        table.add_row(model.name, f"{model.size / 1e6:.0f} MB", where)
    here = {model.name for model in present}
    for name, known in sorted(store.catalog.items()):
        if name == known.name and name not in here:
            table.add_row(name, f"{known.size / 1e6:.0f} MB", f"not here: forebay models pull {name}")
    # Paths are for copying: they must not be folded to the width of a terminal or a pipe.
    console = Console(soft_wrap=True) if sys.stdout.isatty() else Console(width=400, highlight=False)
    console.print(table)


@models_app.command(name="rm")
def remove(name: str, /) -> None:
    """Remove a model; files that the store only refers to (yours, or Hugging Face's cache) stay."""
    with _errors_as_exit_status():
        model = ModelStore().remove(name)
        kept = f"; its files stay at {model.path}" if model.referenced else ""
        Console(highlight=False, soft_wrap=True).print(f"removed {model.name}{kept}", markup=False)


@contextlib.contextmanager
def _errors_as_exit_status() -> Iterator[None]:
    try:
        yield
    except ModelStoreError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"forebay: {error}", markup=False)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
