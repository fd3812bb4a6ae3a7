"""A library is built once for each version of its source; a missing compiler is called by its name."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend_engine.native import build, library
from backend_engine.native.build import BuildError, compile_library, find_compiler, library_path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "forebay" / "native"


@pytest.fixture
def quick_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = tmp_path / "src"
    source.mkdir()
    (source / "one.cpp").write_text('extern "C" int one() { return 1; }\n')
    monkeypatch.setattr(build, "SOURCE", source)
    return source / "one.cpp"


def test_a_library_is_built_once_and_again_when_its_source_changes(
    own_cache: Path, quick_source: Path
) -> None:
    first = library_path("portable")
    built = first.stat().st_mtime_ns
    assert first.parent == own_cache
    assert library_path("portable") == first
    assert first.stat().st_mtime_ns == built
    quick_source.write_text('extern "C" int one() { return 2; }\n')
    assert library_path("portable") != first
    assert sorted(own_cache.iterdir()) == sorted({first, library_path("portable")})


def test_other_processes_find_the_library_under_the_same_name(own_cache: Path) -> None:
    script = "from backend_engine.native import build; print(build.source_hash())"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_a_library_shipped_with_the_package_needs_no_compiler(
    tmp_path: Path, quick_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "SHIPPED", tmp_path / "lib")
    monkeypatch.setattr(build.platform, "machine", lambda: "riscv64")
    (shipped,) = build.build_shipped()
    monkeypatch.setenv("PATH", "")
    assert library_path("portable") == shipped


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing_behind(
    own_cache: Path, quick_source: Path
) -> None:
    quick_source.write_text("this is not C++\n")
    with pytest.raises(BuildError, match="this"):
        compile_library(find_compiler(), "portable", own_cache / "x.so")
    assert list(own_cache.iterdir()) == []


def test_without_a_compiler_there_is_no_library_and_the_log_says_so_once(
    own_cache: Path, quick_source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    logging.captureWarnings(False)
    library.native_library.cache_clear()
    try:
        assert library.native_library() is None
        assert library.native_library() is None
    finally:
        library.native_library.cache_clear()
    out = capsys.readouterr()
    assert (out.out + out.err).count("no C++ compiler") == 1
