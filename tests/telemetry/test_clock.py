"""Span times: wall time outside, monotonic inside."""

from __future__ import annotations

import time

import pytest

from telemetry.clock import Clock


def test_times_are_since_the_epoch_and_do_not_run_backwards() -> None:
    clock = Clock()
    before = time.time_ns()
    readings = [clock.now() for _ in range(100)]
    assert readings == sorted(readings)
    assert abs(readings[0] - before) < 1_000_000_000


def test_a_monotonic_reading_becomes_the_same_time() -> None:
    clock = Clock()
    before, reading, after = clock.now(), time.monotonic(), clock.now()
    # A float of seconds is exact to well under a microsecond here.
    assert before - 1000 <= clock.at(reading) <= after + 1000


def test_a_step_of_the_wall_clock_waits_for_the_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    real, hour = time.time_ns, 3600 * 10**9
    start = clock.now()
    monkeypatch.setattr(time, "time_ns", lambda: real() + hour)
    assert clock.now() - start < hour
    clock.correct()
    assert clock.now() - start >= hour


def test_drift_of_less_than_a_second_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 10**8)
    start = clock.now()
    clock.correct()
    assert clock.now() - start < 10**8
