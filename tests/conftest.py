"""Fixtures that more than one package's tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The real SmolLM2-135M-Instruct GGUF; `make test` downloads it first."""
    override = os.environ.get("FOREBAY_TEST_MODEL")
    if override:
        return Path(override)
    from gateway.models.store import ModelStore

    return ModelStore().path("smollm2-135m-instruct")
