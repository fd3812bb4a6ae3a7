"""A library is built once for each version of its source; a missing compiler is called by its name."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backend_engine.native import build, library
from backend_engine.native.build import BuildError, compile_library, compiled_library, find_compiler


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
    first = compiled_library("portable").path
    built = first.stat().st_mtime_ns
    assert first.parent == own_cache
    assert compiled_library("portable").path == first
    assert first.stat().st_mtime_ns == built
    quick_source.write_text('extern "C" int one() { return 2; }\n')
    assert compiled_library("portable").path != first
    assert sorted(own_cache.iterdir()) == sorted({first, compiled_library("portable").path})


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


@pytest.fixture
def quick_kernels(quick_source: Path) -> None:
    """Every function that Python looks up, quick to compile; one of them is shared by all variants."""
    source = Path(build.__file__).with_name("src") / "library.cpp"
    names = re.findall(r"^\S.* EXPORTED\((\w+)\)\(", source.read_text(), flags=re.M)
    functions = "\n".join(f'extern "C" void NAME({name})() {{}}' for name in names)
    quick_source.write_text(
        f"""
        #define JOIN(name, variant) forebay_##name##_##variant
        #define EXPANDED(name, variant) JOIN(name, variant)
        #define NAME(name) __attribute__((visibility("default"))) EXPANDED(name, FOREBAY_VARIANT)
        {functions}
        #if defined(__AVX2__)
        __attribute__((noinline)) inline int demands() {{ return 2; }}
        #else
        __attribute__((noinline)) inline int demands() {{ return 1; }}
        #endif
        extern "C" int NAME(demands)() {{ return demands(); }}
        """
    )


@pytest.fixture
def shipped(tmp_path: Path, quick_kernels: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a wheel's library would lie."""
    monkeypatch.setattr(build, "SHIPPED", tmp_path / "lib")
    return tmp_path / "lib" / build.shipped_name()


def test_a_shipped_library_has_every_variant_and_needs_no_compiler(
    shipped: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.build_shipped(shipped)
    monkeypatch.setenv("PATH", "")
    for name in build.supported_sets():
        loaded = library.Library(name)
        assert (loaded.origin, loaded.instruction_set) == ("shipped", name)
    assert not own_cache.exists()


def test_a_shipped_library_that_does_not_load_gives_way_to_one_compiled_here(
    shipped: Path, own_cache: Path
) -> None:
    shipped.parent.mkdir()
    shipped.write_bytes(b"of some other machine")
    assert library.Library("portable").origin == "compiled here"
    assert [path.name.split("-")[1] for path in own_cache.iterdir()] == ["portable"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines have one variant")
def test_what_variants_share_is_compiled_for_the_least_demanding(shipped: Path) -> None:
    build.build_shipped(shipped)
    functions = ctypes.CDLL(str(shipped))
    assert [functions[f"forebay_demands_{name}"]() for name in ("portable", "avx2")] == [1, 1]


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing_behind(
    own_cache: Path, quick_source: Path
) -> None:
    quick_source.write_text("this is not C++\n")
    with pytest.raises(BuildError, match="this"):
        compile_library(find_compiler(), ["portable"], own_cache / "x.so")
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
