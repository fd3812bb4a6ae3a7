"""A prefix that left the pool, or the process, is found again, and the answer is what it would have been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend_engine.assemble import LoadedModel, build_engine, load_model
from backend_engine.engine import Engine
from backend_engine.errors import ModelError
from backend_engine.launcher import EngineOptions
from backend_engine.request import Request
from tests.backend_engine.support.generate import generate, make_request, run_to_end

SYSTEM = 1000
"""Tokens of a system prompt."""


@pytest.fixture(scope="module")
def fp32(smollm2_path: Path) -> LoadedModel:
    return load_model(str(smollm2_path), "none", threads=1)


def make_engine(loaded: LoadedModel, path: Path, **options: Any) -> Engine:
    settings = {"quantization": "none", "kv_memory_mb": 80, **options}
    return build_engine(loaded, EngineOptions(model=str(path), **settings))


def prompt(number: int, tokens: int = SYSTEM) -> list[int]:
    return [1000 + (number * 7919 + at * 104_729) % 40_000 for at in range(tokens)]


def ask(engine: Engine, system: list[int], question: int) -> Request:
    request = make_request([*system, *prompt(question, 20)], max_tokens=4)
    engine.add(request)
    run_to_end(engine)
    return request


def test_a_system_prompt_survives_a_restart(fp32: LoadedModel, smollm2_path: Path, tmp_path: Path) -> None:
    options = {"prefix_cache_disk": str(tmp_path / "kv")}
    system = prompt(1)
    plain = ask(make_engine(fp32, smollm2_path, prefix_cache=False), system, 5)
    first = make_engine(fp32, smollm2_path, **options)
    ask(first, system, 4)
    first.close()

    second = make_engine(fp32, smollm2_path, **options)
    found = ask(second, system, 5)
    assert found.num_cached == SYSTEM // 16 * 16
    assert found.output_ids == plain.output_ids
    assert second.stats().prefix_hits == found.num_cached
    second.close()

    # Every file damaged in one bit: nothing is found, and nothing wrong is served.
    for file in (tmp_path / "kv").iterdir():
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 4
        file.write_bytes(raw)
    third = make_engine(fp32, smollm2_path, **options)
    damaged = ask(third, system, 5)
    assert damaged.num_cached == 0
    assert damaged.output_ids == plain.output_ids
    third.close()


def test_other_numerics_find_nothing_on_disk(fp32: LoadedModel, smollm2_path: Path, tmp_path: Path) -> None:
    options = {"prefix_cache_disk": str(tmp_path / "kv")}
    engine = make_engine(fp32, smollm2_path, **options)
    ask(engine, prompt(1, 200), 4)
    engine.close()
    other = make_engine(fp32, smollm2_path, quantization="int8", **options)
    assert ask(other, prompt(1, 200), 4).num_cached == 0
    other.close()


def test_memory_keeps_what_the_pool_had_no_room_for(fp32: LoadedModel, smollm2_path: Path) -> None:
    # The pool holds one of the two prompts at a time.
    engine = make_engine(fp32, smollm2_path, kv_memory_mb=16, prefix_cache_ram_mb=60)
    plain = make_engine(fp32, smollm2_path, prefix_cache=False)
    for number in (1, 2):
        assert ask(engine, prompt(number, 256), 3).num_cached == 0
    for number, question in ((1, 4), (2, 5), (1, 6)):
        again = ask(engine, prompt(number, 256), question)
        assert again.num_cached == 256
        assert again.output_ids == ask(plain, prompt(number, 256), question).output_ids


def test_salts_share_nothing_in_the_second_tier_either(fp32: LoadedModel, smollm2_path: Path) -> None:
    engine = make_engine(fp32, smollm2_path, kv_memory_mb=16, prefix_cache_ram_mb=100)
    system = prompt(1, 200)
    for salt, expected in (("a", 0), ("b", 0), ("a", 192), ("b", 192)):
        request = make_request([*system, 7], max_tokens=2)
        request = Request("r", request.token_ids, request.params, request.detokenizer, salt=salt)
        engine.add(request)
        run_to_end(engine)
        assert request.num_cached == expected
        generate(engine, [prompt(8, 300)], max_tokens=2)  # throws the others out of the pool


def test_a_directory_that_cannot_be_had_is_refused(fp32: LoadedModel, smollm2_path: Path) -> None:
    with pytest.raises(ModelError, match="prefix_cache_disk /proc/nowhere"):
        make_engine(fp32, smollm2_path, prefix_cache_disk="/proc/nowhere")
