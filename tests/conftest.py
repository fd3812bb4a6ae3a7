"""Fixtures that more than one package's tests use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# As the engine does for itself: before anything loads torch.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from tests.support.engine_process import running_engine


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The real SmolLM2-135M-Instruct GGUF; `make test` downloads it first."""
    override = os.environ.get("FOREBAY_TEST_MODEL")
    if override:
        return Path(override)
    from gateway.models.store import ModelStore

    return ModelStore().path("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def engine_url(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real engine process with default settings, shared by all tests that only talk to it."""
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    with running_engine(smollm2_path, log, model_name="smollm2") as url:
        yield url
