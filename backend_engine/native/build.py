"""Finds the kernels' library: the wheel's, or one that is compiled here for this machine.

    python -m backend_engine.native.build [INSTRUCTION_SET ...]

builds for this machine, or the variants named. A wheel's library has every variant in it and lies in the
package. Ours have one each and lie in the user's cache folder under a hash of all that went into them, so a
change of source or compiler never meets an old library.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SOURCE = Path(__file__).parent / "src"
SHIPPED = Path(__file__).parent / "lib"
"""Where a wheel carries its library."""

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
_FLAGS = ["-std=c++20", "-O3", "-fPIC", "-pthread", "-fvisibility=hidden", "-ffp-contract=off"]
# The ABI of vectors in arguments, and intrinsics that leave a register undefined: no concern of ours.
_FLAGS += ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-maybe-uninitialized"]
# What a wheel's library needs of the machine that it comes to is the C library alone.
_STATIC = ["-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-Wl,--gc-sections", "-s"]

Origin = Literal["shipped", "compiled here"]


@dataclass(frozen=True, slots=True)
class LibraryFile:
    """A library that has the functions of at least one instruction set."""

    path: Path
    origin: Origin


class BuildError(Exception):
    """There is no compiler, or it failed; the message says what it said."""


def supported_sets() -> list[str]:
    """Return the instruction sets that this processor has, the best first."""
    have = _processor_flags()
    return [name for name, (_, needed) in INSTRUCTION_SETS.items() if needed <= have]


def shipped_library() -> LibraryFile | None:
    """Return the library that came in the wheel with these very sources, if there is one."""
    path = SHIPPED / shipped_name()
    return LibraryFile(path, "shipped") if path.exists() else None


def shipped_name() -> str:
    """Return the name of a wheel's library."""
    return f"forebay-{source_hash()}.so"


def compiled_library(instruction_set: str) -> LibraryFile:
    """Return the library for `instruction_set` that was compiled here, compiling it first if need be.

    Raises BuildError.
    """
    compiler = find_compiler()
    name = f"forebay-{instruction_set}-{source_hash()}-{_compiler_hash(compiler)}.so"
    target = cache_folder() / name
    if not target.exists():
        compile_library(compiler, [instruction_set], target)
    return LibraryFile(target, "compiled here")


def build_shipped(target: Path) -> None:
    """Compile a wheel's library, every variant for this architecture, to `target`. Raises BuildError."""
    names = list(INSTRUCTION_SETS) if platform.machine() in ("x86_64", "AMD64") else ["portable"]
    compile_library(find_compiler(), names, target, link_flags=_STATIC)


def compile_library(
    compiler: str, instruction_sets: Sequence[str], target: Path, *, link_flags: Sequence[str] = ()
) -> None:
    """Compile these variants into one library, which appears whole or not at all. Raises BuildError.

    Each variant has a namespace of its own. Templates of the standard library that several of them use are
    kept once, as the linker met them first: so the least demanding variant comes first.
    """
    variants = [name for name in reversed(INSTRUCTION_SETS) if name in instruction_sets]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=target.parent)
    except OSError as error:
        raise BuildError(f"cannot write to {target.parent}: {error.strerror}") from error
    with folder, ThreadPoolExecutor(os.cpu_count()) as threads:
        objects = [
            threads.submit(_compile_object, compiler, source, variant, Path(folder.name))
            for variant in variants
            for source in sorted(SOURCE.glob("*.cpp"))
        ]
        unfinished = Path(folder.name) / "library.so"
        paths = [str(future.result()) for future in objects]
        _run([compiler, "-shared", "-pthread", *paths, *link_flags, "-o", str(unfinished)])
        unfinished.replace(target)


def _compile_object(compiler: str, source: Path, variant: str, folder: Path) -> Path:
    target = folder / f"{source.stem}-{variant}.o"
    suffix = variant.replace("-", "_")
    names = [f"-Dforebay=forebay_{suffix}", f"-DFOREBAY_VARIANT={suffix}"]
    flags = [*_FLAGS, *INSTRUCTION_SETS[variant][0], *names]
    _run([compiler, *flags, "-c", str(source), "-o", str(target)])
    return target


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(f"{command[0]} failed:\n{result.stderr[-2000:]}")


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
            sys.stdout.write(f"{compiled_library(name).path}\n")
        except BuildError as error:
            sys.exit(f"native kernels: {error}")


if __name__ == "__main__":
    main()
