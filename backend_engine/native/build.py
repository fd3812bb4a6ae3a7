"""Compiles the kernels, once for each version of their source, compiler and instruction set.

    python -m backend_engine.native.build [INSTRUCTION_SET ...]

builds for this machine, or the variants named. Libraries lie in the user's cache folder under a hash of all
that went into them, so a change of source or compiler never meets an old library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "src"
SHIPPED = Path(__file__).parent / "lib"
"""Where a wheel carries its libraries."""

INSTRUCTION_SETS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "avx512-vnni": (
        ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mavx2", "-mfma", "-mf16c"),
        frozenset(["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx2", "fma", "f16c"]),
    ),
    "avx2": (("-mavx2", "-mfma", "-mf16c"), frozenset({"avx2", "fma", "f16c"})),
    "portable": ((), frozenset()),
}
"""By preference: the compiler's flags, and the processor flags (names of /proc/cpuinfo) that are needed."""

# No contraction: a * b + c is fused where the source says so and nowhere else, in every tile of a kernel.
_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
]
# The ABI of vectors in arguments, and intrinsics that leave a register undefined: no concern of ours.
_FLAGS += ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-maybe-uninitialized"]


class BuildError(Exception):
    """There is no compiler, or it failed; the message says what it said."""


def supported_sets() -> list[str]:
    """Return the instruction sets that this processor has, the best first."""
    have = _processor_flags()
    return [name for name, (_, needed) in INSTRUCTION_SETS.items() if needed <= have]


def library_path(instruction_set: str) -> Path:
    """Return the library for `instruction_set`: the wheel's, or ours, built first if need be.

    Raises BuildError if there is neither a library nor a way to build one.
    """
    shipped = SHIPPED / _file_name(instruction_set, source_hash())
    if shipped.exists():
        return shipped
    compiler = find_compiler()
    target = cache_folder() / _file_name(instruction_set, f"{source_hash()}-{_compiler_hash(compiler)}")
    if not target.exists():
        compile_library(compiler, instruction_set, target)
    return target


def build_shipped() -> list[Path]:
    """Build all variants for this architecture into the package, for a wheel; returns their paths."""
    compiler = find_compiler()
    names = list(INSTRUCTION_SETS) if platform.machine() == "x86_64" else ["portable"]
    paths = [SHIPPED / _file_name(name, source_hash()) for name in names]
    for name, path in zip(names, paths, strict=True):
        compile_library(compiler, name, path)
    return paths


def compile_library(compiler: str, instruction_set: str, target: Path) -> None:
    """Compile to `target`, which appears whole or not at all. Raises BuildError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, suffix=".so")
    except OSError as error:
        raise BuildError(f"cannot write to {target.parent}: {error.strerror}") from error
    os.close(handle)
    unfinished = Path(name)
    flags = [*_FLAGS, *INSTRUCTION_SETS[instruction_set][0]]
    sources = [str(path) for path in sorted(SOURCE.glob("*.cpp"))]
    try:
        result = subprocess.run(
            [compiler, *flags, *sources, "-o", name], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise BuildError(f"{compiler} failed:\n{result.stderr[-2000:]}")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def find_compiler() -> str:
    """Return the C++ compiler: $CXX, g++ or clang++. Raises BuildError if there is none."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise BuildError("no C++ compiler (g++ or clang++) was found")


def cache_folder() -> Path:
    """Return the folder of the libraries built on this machine."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "forebay" / "native"


def _file_name(instruction_set: str, version: str) -> str:
    return f"forebay-{instruction_set}-{version}.so"


def source_hash() -> str:
    """Return 12 hexadecimal digits that differ for other sources or flags of the kernels."""
    digest = hashlib.sha256(repr([_FLAGS, [flags for flags, _ in INSTRUCTION_SETS.values()]]).encode())
    for path in sorted([*SOURCE.glob("*.cpp"), *SOURCE.glob("*.h")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _compiler_hash(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return hashlib.sha256(version.encode()).hexdigest()[:8]


def _processor_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def main() -> None:
    """Build what the command line names, or the best for this machine."""
    for name in sys.argv[1:] or supported_sets()[:1]:
        try:
            sys.stdout.write(f"{library_path(name)}\n")
        except BuildError as error:
            sys.exit(f"native kernels: {error}")


if __name__ == "__main__":
    main()
