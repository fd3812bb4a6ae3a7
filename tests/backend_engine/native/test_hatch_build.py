"""A wheel carries kernels that run without a compiler; made without one, it fits every platform."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling.bridge.app import Application

from backend_engine.native import build
from backend_engine.native.hatch_build import KernelsHook, platform_tag

ROOT = Path(__file__).resolve().parents[3]


def built(version: str = "standard") -> tuple[dict[str, Any], list[bytes]]:
    """Run the hook as hatchling does; returns what it asks for and the files that it made."""
    data: dict[str, Any] = {"force_include": {}}
    hook = KernelsHook(str(ROOT), {}, None, None, "", "wheel", Application())
    hook.initialize(version, data)
    files = [Path(path).read_bytes() for path in data["force_include"]]
    hook.finalize(version, data, "")
    assert not any(Path(path).exists() for path in data["force_include"])
    return data, files


@pytest.fixture
def quick_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.cpp").write_text('extern "C" int one() { return 1; }\n')
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    monkeypatch.setattr(build, "INSTRUCTION_SETS", {"portable": ((), frozenset())})
    monkeypatch.setattr(build.platform, "machine", lambda: "any")


def test_a_wheel_with_kernels_is_one_for_this_platform(quick_source: None) -> None:
    data, (library,) = built()
    (inside,) = data["force_include"].values()
    assert inside == f"backend_engine/native/lib/{build.shipped_name()}"
    assert data["pure_python"] is False
    assert data["tag"] == f"py3-none-{platform_tag(library)}"


def test_without_a_compiler_the_wheel_fits_every_platform_and_the_build_says_so(
    quick_source: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert built()[0] == {"force_include": {}}
    out = capsys.readouterr()
    assert "no compiled kernels: no C++ compiler" in out.out + out.err


def test_an_editable_install_compiles_nothing(quick_source: None) -> None:
    assert built("editable")[0] == {"force_include": {}}


@pytest.mark.parametrize(
    ("library", "tag"),
    [
        (b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.4\0", "manylinux_2_34_x86_64"),
        (b"\0GLIBC_2.2.5\0", "manylinux_2_17_x86_64"),
        (b"\0libc.musl-x86_64.so.1\0", "linux_x86_64"),
    ],
)
def test_the_tag_names_the_newest_c_library_that_is_asked_for(
    library: bytes, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_platform", lambda: "linux-x86_64")
    assert platform_tag(library) == tag


CHECK = """
import torch
from backend_engine.native.build import supported_sets
from backend_engine.native.library import Library, Team
from backend_engine.native.packed_linear import PackedLinear
from backend_engine.quant.block_linear import BlockLinear
from backend_engine.quant.blocks import round_to_eight_bits

weights, x = round_to_eight_bits(torch.randn(40, 64)), torch.randn(3, 64)
for name in supported_sets():
    library = Library(name)
    equal = torch.equal(PackedLinear(Team(library, 2), weights, 64)(x), BlockLinear(weights, 64)(x))
    print(library, equal)
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_real_wheel_computes_where_there_is_no_compiler(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert not wheel.name.endswith("-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "CXX"},
        "PATH": "",
        "PYTHONPATH": str(tmp_path / "installed"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    result = subprocess.run(
        [sys.executable, "-c", CHECK],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines() == [f"{name}, shipped True" for name in build.supported_sets()]
    assert not (tmp_path / "cache").exists()
