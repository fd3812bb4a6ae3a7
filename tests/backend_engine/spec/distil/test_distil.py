"""From a model's answers to a head that drafts better than before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend_engine.assemble import HEADS, LoadedModel, load_model
from backend_engine.loading.checkpoint import Checkpoint, load_checkpoint
from backend_engine.spec.distil import collect as collecting
from backend_engine.spec.distil.__main__ import taps_of
from backend_engine.spec.distil.collect import collect
from backend_engine.spec.distil.export import export, restore
from backend_engine.spec.distil.model import TrainableHead
from backend_engine.spec.distil.train import DEPTH, Answers, Target, Trainer, frequent_tokens
from backend_engine.spec.draft_weights import LINEARS, DraftWeights


@pytest.fixture(scope="module")
def loaded(smollm2_path: Path) -> LoadedModel:
    return load_model(str(smollm2_path), "auto", threads=2)


@pytest.fixture(scope="module")
def checkpoint(smollm2_path: Path) -> Checkpoint:
    return load_checkpoint(smollm2_path)


@pytest.fixture(scope="module")
def folder(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of at most 24 tokens to a few prompts."""
    folder = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collecting, "AT_ONCE", 8)
        patch.setattr(collecting, "LONGEST", 24)
        patch.setattr(collecting, "_ANSWERS_PER_FILE", 12)
        collect(loaded, taps_of(30), folder, tokens=500, seed=4, say=lambda text: None)
    return folder


def test_answers_have_the_features_that_they_were_drawn_from(folder: Path, checkpoint: Checkpoint) -> None:
    target = Target.of(checkpoint)
    paths = sorted(folder.glob("*.safetensors"))
    assert len(paths) > 1
    answers = Answers.read(paths)
    assert len(answers.tokens) == len(answers.features) >= 500
    assert answers.features.shape[1:] == (3, 576)
    final = answers.features[answers.places, -1].float()
    final = final * torch.rsqrt(final.square().mean(-1, keepdim=True) + target.eps) * target.norm
    likeliest = (final @ target.embedding.t()).argmax(-1)
    # Half of the answers are greedy, and the others follow the model most of the time.
    assert (likeliest == answers.tokens[answers.places + 1]).float().mean() > 0.6


def test_places_have_all_that_a_draft_is_learnt_from(folder: Path) -> None:
    [path, *_] = sorted(folder.glob("*.safetensors"))
    answers, starts = Answers.read([path]), load_file(path)["starts"].tolist()
    ends = [*starts[1:], len(answers.tokens)]
    for place in answers.places.tolist():
        [(_, end)] = [(start, end) for start, end in zip(starts, ends, strict=True) if start <= place < end]
        assert place + DEPTH + 1 < end
        assert answers.features[place + DEPTH].abs().sum() > 0


def test_training_lowers_the_loss(folder: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    torch.manual_seed(0)
    *paths, last = sorted(folder.glob("*.safetensors"))
    answers = Answers.read(paths)
    tokens = frequent_tokens(answers, 128, 49152)
    head, target = TrainableHead(576, 64, 3), Target.of(checkpoint)
    trainer = Trainer(head, target, tokens)
    before = trainer._loss(answers, answers.places, 1).item()
    said: list[str] = []
    trainer.train(
        folder,
        last,
        seconds=1.5,
        rate=3e-3,
        save=lambda: export(head, tokens, (10, 20, 30), checkpoint, tmp_path / "head.safetensors"),
        say=said.append,
    )
    assert trainer._loss(answers, answers.places, 1).item() < before
    assert said
    weights = DraftWeights.load(tmp_path / "head.safetensors")
    assert weights.fits(checkpoint.config, checkpoint.tokenizer.token_bytes)
    assert torch.equal(weights.vocabulary, tokens)


def test_the_bundled_head_guesses_well(folder: Path, checkpoint: Checkpoint) -> None:
    weights = DraftWeights.load(HEADS / "smollm2-135m-instruct.safetensors")
    trainer = Trainer(restore(weights), Target.of(checkpoint), weights.vocabulary)
    answers = Answers.read(sorted(folder.glob("*.safetensors")))
    first, *_ = trainer.accuracies(answers)
    assert first > 0.3


def test_a_restored_head_is_the_one_saved(tmp_path: Path, checkpoint: Checkpoint) -> None:
    head, tokens = TrainableHead(576, 64, 3), torch.arange(20, 148)
    torch.nn.init.normal_(head.down.weight)
    export(head, tokens, (10, 20, 30), checkpoint, tmp_path / "head.safetensors")
    again = restore(DraftWeights.load(tmp_path / "head.safetensors"))
    for name in LINEARS:
        one, other = getattr(head, name).weight, getattr(again, name).weight
        assert (one - other).norm() / one.norm() < 0.01
