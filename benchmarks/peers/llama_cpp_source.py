"""llama.cpp's own server, built from the sources that llama-cpp-python's source package carries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks import environments

PACKAGE = "llama-cpp-python==0.3.36"
_TARGETS = ("llama-server", "llama-quantize")
_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
)


def llama_server() -> tuple[Path, Path]:
    """Return llama.cpp's server and its quantizer, building them first if need be (some minutes).

    Raises PeerUnavailable.
    """
    folder = environments.root() / PACKAGE.replace("==", "-")
    found = [folder / "build" / "bin" / name for name in _TARGETS]
    if not all(path.exists() for path in found):
        print(f"building {' and '.join(_TARGETS)} ...", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _build(folder)
    server, quantize = found
    return server, quantize


def _build(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:", PACKAGE]
    _run([*pip, f"--dest={folder}"])
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(folder, filter="data")
    archive.unlink()
    (source,) = folder.glob("*/vendor/llama.cpp")
    tools = environments.python_with(["cmake", "ninja"]).parent
    cmake = str(tools / "cmake")
    build = folder / "build"
    make = f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}"
    _run([cmake, "-G", "Ninja", make, *_FLAGS, "-S", str(source), "-B", str(build)])
    _run([cmake, "--build", str(build), "-j", str(os.cpu_count() or 1), "--target", *_TARGETS])


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        end = (result.stdout + result.stderr)[-2000:]
        raise environments.PeerUnavailable(f"{' '.join(command)} failed:\n{end}")
