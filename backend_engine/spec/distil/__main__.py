"""Makes a draft head for a model.

    python -m backend_engine.spec.distil collect --model MODEL.gguf --data DIR
    python -m backend_engine.spec.distil train --model MODEL.gguf --data DIR --out HEAD.safetensors

`collect` lets the model answer made-up prompts; several may run, with different seeds. `train` distils what
lies in DIR, also what comes while it runs, and writes the head every few minutes; `--start HEAD` goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cyclopts
import torch

from backend_engine.assemble import load_model
from backend_engine.loading.checkpoint import load_checkpoint
from backend_engine.spec.distil.collect import collect as collect_answers
from backend_engine.spec.distil.export import export, restore
from backend_engine.spec.distil.model import TrainableHead
from backend_engine.spec.distil.train import Answers, Target, Trainer, frequent_tokens
from backend_engine.spec.draft_weights import DraftWeights

cli = cyclopts.App(name="distil", help="Make a draft head for a model.", version_flags=[])


def taps_of(num_layers: int) -> tuple[int, ...]:
    """Return after which layers a head reads: a third, two thirds and all of them."""
    return (num_layers // 3, 2 * num_layers // 3, num_layers)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@cli.command
def collect(*, model: str, data: Path, tokens: int = 600_000, seed: int = 1, threads: int = 1) -> None:
    """Let the model answer prompts.

    Parameters
    ----------
    model: path of the model.
    data: folder for the answers and their features, 3.4 KB a token for SmolLM2-135M.
    tokens: tokens of all answers.
    seed: which prompts and answers.
    threads: threads of the engine.
    """
    loaded = load_model(model, "auto", threads=threads)
    collect_answers(loaded, taps_of(loaded.config.num_layers), data, tokens=tokens, seed=seed, say=_say)


@cli.command
def train(
    *,
    model: str,
    data: Path,
    out: Path,
    start: Path | None = None,
    minutes: float = 35.0,
    rate: float = 2.5e-3,
    vocabulary: int = 6144,
    inner: int = 1536,
    threads: int = 2,
    seed: int = 0,
) -> None:
    """Distil a head; the last file of the data is held out.

    Parameters
    ----------
    model: path of the model.
    data: folder that `collect` filled.
    out: file of the head.
    start: head to go on from.
    minutes: time to train.
    rate: highest learning rate.
    vocabulary: tokens that the head can draft, a multiple of 16: the most frequent ones.
    inner: width of the head's feed-forward layer, a multiple of 32.
    threads: threads of torch.
    seed: of the first weights and the order of the data.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    checkpoint = load_checkpoint(Path(model))
    target, taps = Target.of(checkpoint), taps_of(checkpoint.config.num_layers)
    *files, last = sorted(data.glob("*.safetensors"))
    if start is None:
        tokens = frequent_tokens(Answers.read(files), vocabulary, checkpoint.config.vocab_size)
        head = TrainableHead(checkpoint.config.hidden_size, inner, len(taps))
    else:
        weights = DraftWeights.load(start)
        tokens, head = weights.vocabulary, restore(weights)
    Trainer(head, target, tokens).train(
        data,
        last,
        seconds=60 * minutes,
        rate=rate,
        save=lambda: export(head, tokens, taps, checkpoint, out),
        say=_say,
    )


if __name__ == "__main__":
    cli()
