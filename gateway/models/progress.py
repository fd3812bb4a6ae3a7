"""Progress of a pull on standard error: a bar on a terminal, a line per phase elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

Advance = Callable[[int], None]
"""Takes how many bytes are done so far."""


class PullProgress:
    """Shows what a pull is doing."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    def say(self, message: str) -> None:
        """Show one line."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def phase(self, label: str, total: int) -> Iterator[Advance]:
        """Show a phase of `total` bytes."""
        if not self.console.is_terminal:
            self.say(f"{label} ({total / 1e6:.0f} MB)")
            yield lambda done: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=self.console) as bar:
            task = bar.add_task(label, total=total)
            yield lambda done: bar.update(task, completed=done)
            bar.update(task, completed=total)
