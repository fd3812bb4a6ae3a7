"""Jobs one after another, in a thread of their own, and what one that fails does to the next."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from semantic_cache.index.background import Background


def test_jobs_run_in_order_and_are_waited_for() -> None:
    background, done = Background(), []
    background.wait()
    for at in range(20):
        background.submit(lambda at=at: done.append((at, threading.get_ident())))
    background.wait()
    assert [at for at, _ in done] == list(range(20))
    assert len({thread for _, thread in done} | {threading.get_ident()}) == 2
    assert background.left == 0
    background.close()


def test_a_job_that_fails_stops_nothing() -> None:
    background, done = Background(), []

    def fails() -> None:
        raise ValueError("no")

    background.submit(fails)
    background.submit(lambda: done.append(1))
    background.wait()
    assert done == [1]
    background.close()


def test_closing_drops_what_waits_and_waits_for_what_runs() -> None:
    background, done = Background(), []
    started, may_end = threading.Event(), threading.Event()

    def runs() -> None:
        started.set()
        assert may_end.wait(30)
        done.append("ran")

    background.submit(runs)
    background.submit(lambda: done.append("waited"))
    assert started.wait(30)
    closing = threading.Thread(target=background.close)
    closing.start()
    while background.left > 1:
        time.sleep(0.001)
    may_end.set()
    closing.join(30)
    assert done == ["ran"]
    background.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux only")
def test_it_is_nicer_than_who_started_it() -> None:
    background, found = Background(), []
    background.submit(lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    background.wait()
    assert found == [min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)]
    background.close()
