"""Settings that make no sense are named before anything is loaded."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from backend_engine.launcher import EXIT_BAD_OPTIONS, EngineOptions


def test_the_defaults_are_sound() -> None:
    assert EngineOptions(model="m").problem() is None
    assert EngineOptions(model="m", max_decode_stretch=float("inf"), max_output_tokens=1).problem() is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_batch_tokens": 0}, "max_batch_tokens is 0"),
        ({"max_output_tokens": 0}, "max_output_tokens is 0"),
        ({"max_decode_stretch": 1.0}, "max_decode_stretch is 1.0"),
        ({"max_decode_stretch": float("nan")}, "max_decode_stretch is nan"),
        ({"prefix_cache_ram_mb": -1}, "prefix_cache_ram_mb is -1"),
        ({"speculation": "draft"}, "need each other"),
        ({"draft_model": "small.gguf"}, "need each other"),
        ({"prefix_cache": False, "prefix_cache_ram_mb": 10}, "second tier of prefix_cache, which is off"),
        ({"prefix_cache": False, "prefix_cache_disk": "kv"}, "second tier of prefix_cache, which is off"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(settings: dict[str, Any], words: str) -> None:
    problem = EngineOptions(model="m", **settings).problem()
    assert problem is not None
    assert words in problem


def test_the_process_says_so_and_leaves() -> None:
    command = EngineOptions(model="m", max_output_tokens=-5).argv()
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == EXIT_BAD_OPTIONS
    assert result.stderr == "forebay engine: max_output_tokens is -5; it must be at least 1\n"
