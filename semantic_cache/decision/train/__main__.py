"""Trains the verifier and fits the shipped calibration.

    python -m semantic_cache.decision.train --embedder DIR --data DIR [--pairs FILE] [--cache DIR] [--out DIR]

`--embedder` holds MiniLM-L6 (model.safetensors, config.json, tokenizer.json; Apache-2.0), `--data`
banking77.jsonl (CC BY 4.0) and clinc150.jsonl (CC BY 3.0): the only texts used that are not generated here.
A quarter of the pairs is kept apart; the calibration is fitted on those of them that all gates let through.
Every random choice comes from `--seed`. About half an hour on two cores, nearly all of it encoding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from semantic_cache.decision.calibration import Calibration
from semantic_cache.decision.features import NAMES
from semantic_cache.decision.train import calibrate, fit, intents
from semantic_cache.decision.train.pairs import Pair
from semantic_cache.decision.train.passages import passages
from semantic_cache.decision.train.questions import questions
from semantic_cache.decision.train.reference_embedder import ReferenceEmbedder
from semantic_cache.decision.verifier import Verifier
from semantic_cache.gates.checks import check

KEPT_APART = 0.25
OTHERS = 6
EMBEDDER_ID = "minilm-l6"


def main(arguments: Sequence[str]) -> None:
    """Run the whole of it."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    random = Random(options.seed)
    embedder = ReferenceEmbedder(options.embedder, options.cache, options.threads)
    if options.pairs and options.pairs.exists():
        pairs = msgspec.json.decode(options.pairs.read_bytes(), type=list[Pair])
    else:
        pairs = _generate(random, options.data, embedder)
        if options.pairs:
            options.pairs.write_bytes(msgspec.json.encode(pairs))
    texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
    _say(f"{len(pairs)} pairs, {len(texts)} texts")
    encoded = embedder.encode(texts)
    encoded.tokens = np.array(encoded.tokens)
    random.shuffle(pairs)
    cut = int(len(pairs) * KEPT_APART)
    apart, used = pairs[:cut], _hard(pairs[cut:])
    _say(f"{len(used)} pairs to train on")
    network = fit.train(
        fit.Examples(used, texts, encoded),
        fit.Examples(apart[:200], texts, encoded),
        epochs=options.epochs,
        seed=options.seed,
        say=_say,
    )
    weights = {
        name: value.detach().numpy().astype(np.float16 if value.ndim == 2 else np.float32)
        for name, value in network.state_dict().items()
    }
    path = options.out / "verifier.npz"
    np.savez_compressed(path, id=np.array(f"{EMBEDDER_ID}/{options.seed}"), **weights)
    _say(f"{path}: {path.stat().st_size} bytes")
    calibration = calibrate.fit(Verifier.load(path), apart, texts, encoded, _say)
    if options.tune:
        calibration = calibrate.with_passages(
            calibration, _rephrased(options.tune, embedder, path, calibration)
        )
    written = json.dumps(msgspec.to_builtins(calibration), indent=1)
    (options.out / "calibration.json").write_text(written + "\n")
    msgspec.json.decode(written, type=Calibration)


def _generate(random: Random, data: Path, embedder: ReferenceEmbedder) -> list[Pair]:
    texts, labels = intents.read(data)
    encoded = embedder.encode(texts)
    return [
        *questions(random, 9000),
        *passages(random, 5000),
        *intents.near(random, texts, labels, np.asarray(encoded.vectors), 4000),
        *intents.changed(random, texts, 7000),
    ]


def _rephrased(
    tune: Path, embedder: ReferenceEmbedder, verifier: Path, calibration: Calibration
) -> NDArray[np.float64]:
    """Return the scores of a file's rephrased passages, of the half of its groups that may be tuned on."""
    rows = [json.loads(line) for line in tune.read_text().splitlines()]
    pairs = [
        Pair(row["a"], row["b"], True, row["group"])
        for row in rows
        if row["same"] and not hashlib.sha256(row["group"].encode()).digest()[0] & 1
    ]
    texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
    found, _ = calibrate.measured(Verifier.load(verifier), pairs, texts, embedder.encode(texts))
    return np.array([calibration.score(tuple(row)) for row in found if row[NAMES.index("passage")] > 0])


def _hard(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs that the gates let through, all that the verifier will see, and some others."""
    return [
        pair for number, pair in enumerate(pairs) if number % OTHERS == 0 or check(pair.a, pair.b)[-1].passed
    ]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m semantic_cache.decision.train")
    parser.add_argument("--embedder", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, help="file of pairs: read if it is there, else written")
    parser.add_argument("--cache", type=Path, help="folder in which encodings are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--tune", type=Path, help="file of pairs: its rephrased passages set their threshold")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=11)
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
