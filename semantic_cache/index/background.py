"""The thread that makes inverted files, at a lower priority than the threads that search."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger("semantic")

_NICER, _NICEST = 5, 19


class Background:
    """Runs jobs one after another in a thread that starts with the first."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._left = 0
        self._changed = threading.Condition()

    @property
    def left(self) -> int:
        """How many jobs wait or run."""
        return self._left

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` when those before it are done."""
        with self._changed:
            self._left += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="index-build", daemon=True)
                self._thread.start()
        self._jobs.put(job)

    def wait(self) -> None:
        """Return once no job waits or runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._left)

    def close(self) -> None:
        """Drop what waits, and wait for the job that runs."""
        while not self._jobs.empty():
            self._jobs.get()
            self._done()
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        # On Linux a thread has a priority of its own; elsewhere this would slow the whole process.
        if os.uname().sysname == "Linux":
            thread = threading.get_native_id()
            nice = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(nice + _NICER, _NICEST))
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                _log.exception("index_build_failed")
            finally:
                self._done()

    def _done(self) -> None:
        with self._changed:
            self._left -= 1
            self._changed.notify_all()
