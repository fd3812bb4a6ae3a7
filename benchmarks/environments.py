"""Throw-away environments of Python and Node for peers, so that their dependencies never meet ours.

An environment is named after what is installed in it and kept in the cache folder, since some peers
take minutes to compile; `python -m benchmarks.environments clear` throws them all away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path


class PeerUnavailable(Exception):
    """A peer could not be installed; a comparison without it is a failed run."""


def root() -> Path:
    """Return the folder that holds the environments."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "forebay" / "benchmarks"


def python_with(
    requirements: Sequence[str], *, env: Mapping[str, str] | None = None, no_deps: Sequence[str] = ()
) -> Path:
    """Return the Python of an environment with `requirements`, making it first if need be.

    `no_deps` are installed before them, without what they depend on; `env` is added to pip's
    environment (build flags). Raises PeerUnavailable with the end of pip's output.
    """
    flags = {key: value for key, value in (env or {}).items() if key != "CMAKE_BUILD_PARALLEL_LEVEL"}
    key = "\n".join([sys.version, *requirements, *no_deps, repr(sorted(flags.items()))])
    folder = root() / hashlib.sha256(key.encode()).hexdigest()[:16]
    python = folder / "bin" / "python"
    done = folder / ".complete"
    if done.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {', '.join([*no_deps, *requirements])} ...", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True)
    for extra, packages in ((["--no-deps"], no_deps), ([], requirements)):
        if packages:
            _pip(python, [*extra, *packages], env or {})
    done.write_text("\n".join([*no_deps, *requirements]) + "\n")
    return python


def node_with(packages: Sequence[str]) -> Path:
    """Return a `node_modules` folder that holds `packages`, making it first if need be.

    Install scripts do not run. Raises PeerUnavailable with the end of npm's output.
    """
    folder = root() / hashlib.sha256("\n".join(["node", *packages]).encode()).hexdigest()[:16]
    done = folder / ".complete"
    if not done.exists():
        npm = program("npm", "npm")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"installing {', '.join(packages)} ...", file=sys.stderr, flush=True)
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        result = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
        if result.returncode:
            raise PeerUnavailable(f"npm install {' '.join(packages)} failed:\n{result.stderr[-2000:]}")
        done.write_text("\n".join(packages) + "\n")
    return folder / "node_modules"


def program(name: str, package: str) -> str:
    """Return the path of a program. Raises PeerUnavailable that names Debian's package."""
    if found := shutil.which(name):
        return found
    raise PeerUnavailable(f"{name} is not installed (Debian: apt-get install {package})")


def _pip(python: Path, args: Sequence[str], env: Mapping[str, str]) -> None:
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *args]
    result = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if result.returncode:
        raise PeerUnavailable(f"pip install {' '.join(args)} failed:\n{result.stderr[-2000:]}")


if __name__ == "__main__":
    if sys.argv[1:] != ["clear"]:
        sys.exit("usage: python -m benchmarks.environments clear")
    shutil.rmtree(root(), ignore_errors=True)
