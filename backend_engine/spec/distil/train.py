"""Distils a draft head on what the target said, against its own distribution over the draft vocabulary."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from backend_engine.loading.checkpoint import Checkpoint
from backend_engine.spec.distil.model import TrainableHead, rms_norm

DEPTH = 3
"""Tokens of a draft that are learnt at most, each after the draft's own state and the text's token."""
_DEEP_STEPS = 3
"""One step of so many goes to all of DEPTH, the others to the first token."""
_ROWS = 512
_WARM_UP = 100
_RELOAD_S = 240.0
_SAVE_S = 120.0
_DEPTH_WEIGHT = 0.8
_HELD_OUT = 2048
"""Places that progress is measured at: the target's whole head is costly."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a draft head shares: `embedding` fp32 [vocab, hidden], which is the head too, and last norm."""

    embedding: torch.Tensor
    norm: torch.Tensor
    eps: float

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Target:
        """Raises ValueError for a model whose head is no embedding."""
        if not checkpoint.config.tie_word_embeddings:
            raise ValueError("only a model with tied embeddings shares its head with its input")
        return cls(
            checkpoint.tensor("model.embed_tokens.weight"),
            checkpoint.tensor("model.norm.weight"),
            checkpoint.config.rms_norm_eps,
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """Collected answers one after another; see `collect`."""

    tokens: torch.Tensor
    features: torch.Tensor
    places: torch.Tensor
    """Tokens after which DEPTH further ones and their features follow in the same answer."""

    @classmethod
    def read(cls, paths: list[Path]) -> Answers:
        files = [load_file(path) for path in paths]
        places, first = [], 0
        for file in files:
            ends = [*file["starts"][1:].tolist(), len(file["tokens"])]
            for start, end in zip(file["starts"].tolist(), ends, strict=True):
                places.append(torch.arange(first + start, max(first + start, first + end - DEPTH - 1)))
            first += len(file["tokens"])
        return cls(
            torch.cat([file["tokens"] for file in files]).long(),
            torch.cat([file["features"] for file in files]),
            torch.cat(places),
        )


class Trainer:
    """Trains `head` by the clock; `vocabulary` int64 [draft vocab] are the tokens that it can draft."""

    def __init__(self, head: TrainableHead, target: Target, vocabulary: torch.Tensor) -> None:
        self.head = head
        self._target = target
        self._vocabulary = vocabulary
        self._rows = target.embedding[vocabulary]
        self._rows16 = self._rows.bfloat16()

    def train(
        self,
        folder: Path,
        held_out: Path,
        *,
        seconds: float,
        rate: float,
        save: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        """Train on the files in `folder` but for `held_out`; `rate` falls as a cosine.

        Files that come while this runs are taken in. Progress is told, and the head saved, now and then.
        """

        def read_all() -> Answers:
            return Answers.read(sorted(path for path in folder.glob("*.safetensors") if path != held_out))

        answers, read, judge = read_all(), time.monotonic(), Answers.read([held_out])
        optimiser = torch.optim.AdamW(self.head.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
        began = saved = time.monotonic()
        steps = rows = 0
        order = torch.empty(0, dtype=torch.int64)
        while (spent := time.monotonic() - began) < seconds:
            if len(order) < _ROWS:
                if time.monotonic() - read > _RELOAD_S:
                    answers, read = read_all(), time.monotonic()
                order = answers.places[torch.randperm(len(answers.places))]
            places, order = order[:_ROWS], order[_ROWS:]
            falling = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent / seconds))
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (steps + 1) / _WARM_UP) * falling
            loss = self._loss(answers, places, DEPTH if steps % _DEEP_STEPS == 0 else 1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            steps, rows = steps + 1, rows + len(places)
            if time.monotonic() - saved > _SAVE_S:
                saved = time.monotonic()
                save()
                say(f"{spent:.0f} s, {rows} rows of {len(answers.places)}: {self.accuracies(judge)}")
        save()
        say(f"end, {rows} rows of {len(answers.places)}: {self.accuracies(judge)}")

    def _loss(self, answers: Answers, places: torch.Tensor, depth: int) -> torch.Tensor:
        loss = torch.zeros(())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            state = self.head.begin(answers.features[places].float())
            for ahead in range(1, depth + 1):
                embedded = self._target.embedding[answers.tokens[places + ahead]]
                state, read = self.head.step(state, embedded)
                with torch.no_grad():
                    truth = F.linear(self._final(answers, places + ahead), self._rows16).float().softmax(-1)
                guess = F.linear(read, self._rows16).float()
                loss = loss + _DEPTH_WEIGHT ** (ahead - 1) * F.cross_entropy(guess, truth)
        return loss

    @torch.no_grad()
    def accuracies(self, held_out: Answers) -> list[float]:
        """Return for each place of a draft how often its token is the target's likeliest, as those before."""
        self.head.eval()
        places = held_out.places[:_HELD_OUT]
        alive = torch.ones(len(places), dtype=torch.bool)
        state = self.head.begin(held_out.features[places].float())
        tokens, shares = held_out.tokens[places + 1], []
        for ahead in range(1, DEPTH + 1):
            state, read = self.head.step(state, self._target.embedding[tokens])
            tokens = self._vocabulary[F.linear(read, self._rows).argmax(-1)]
            best = F.linear(self._final(held_out, places + ahead), self._target.embedding).argmax(-1)
            right = alive & (tokens == best)
            shares.append(round((right.sum() / alive.sum()).item(), 3))
            # Only where the text took the likeliest token is the next one known.
            alive = right & (held_out.tokens[places + ahead + 1] == best)
        self.head.train()
        return shares

    def _final(self, answers: Answers, places: torch.Tensor) -> torch.Tensor:
        return rms_norm(answers.features[places, -1].float()) * self._target.norm


def frequent_tokens(answers: Answers, size: int, vocab: int) -> torch.Tensor:
    """Return the `size` tokens that stand most often in `answers`, in ascending order, int64."""
    counts = torch.bincount(answers.tokens, minlength=vocab)
    return counts.argsort(descending=True, stable=True)[:size].sort().values
