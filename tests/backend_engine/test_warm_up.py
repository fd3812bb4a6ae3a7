"""Warming up leaves an engine that knows what its steps cost and holds nothing."""

from __future__ import annotations

from pathlib import Path

from backend_engine.assemble import build_engine, load_model
from backend_engine.launcher import EngineOptions
from backend_engine.warm_up import warm_up


def test_after_warming_up_steps_can_be_predicted_and_nothing_is_cached(smollm2_path: Path) -> None:
    options = EngineOptions(model=str(smollm2_path), kv_memory_mb=16)
    engine = build_engine(load_model(str(smollm2_path), "int8", threads=1), options)
    assert not engine.scheduler.step_time.fitted
    warm_up(engine)
    assert engine.scheduler.step_time.fitted
    assert not engine.has_work
    assert list(engine.scheduler.pool.published()) == []
    assert engine.stats().prefix_queries == 0
