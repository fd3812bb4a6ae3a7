"""The file of a draft head: safetensors with its linears in blocks of eight bits.

A draft head belongs to one model: it reads that model's residual stream, looks tokens up in its embedding and
scores them by rows of its head. So neither table is in the file.
Source: the design lies between Ankner et al., Hydra (arXiv 2402.05109), Zhang et al., Recurrent Drafter
(arXiv 2403.09919), and EAGLE-3's features of several layers (Li et al., arXiv 2503.01840).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from backend_engine.errors import CheckpointError
from backend_engine.model_config import ModelConfig
from backend_engine.quant.blocks import BlockWeights

FORMAT = "forebay-draft-head-1"
LINEARS = ("features", "token", "gate_up", "down")
VECTORS = ("feature_norm", "mlp_norm", "norm")


@dataclass(frozen=True, slots=True)
class DraftWeights:
    """A draft head.

    features [hidden, taps * hidden], token [hidden, hidden], gate_up [2 * inner, hidden],
    down [hidden, inner]; norms fp32, feature_norm [taps, hidden]; vocabulary int64 [draft vocab], ascending.
    """

    taps: tuple[int, ...]
    """After so many of the target's layers it reads the residual stream."""
    eps: float
    pieces: str
    """Fingerprint of the vocabulary's bytes, see `fingerprint`."""
    num_layers: int
    """Of the target."""
    vocabulary: torch.Tensor
    feature_norm: torch.Tensor
    mlp_norm: torch.Tensor
    norm: torch.Tensor
    linears: Mapping[str, BlockWeights]
    """By the names of LINEARS."""

    @property
    def hidden(self) -> int:
        return len(self.norm)

    @property
    def inner(self) -> int:
        return len(self.linears["gate_up"].codes) // 2

    def fits(self, config: ModelConfig, token_bytes: Callable[[int], bytes]) -> bool:
        """Tell whether it was made for a model of this shape and this vocabulary."""
        return (
            (self.hidden, self.num_layers) == (config.hidden_size, config.num_layers)
            and int(self.vocabulary[-1]) < config.vocab_size
            and self.pieces == fingerprint(self.vocabulary, token_bytes)
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        tensors = {name: getattr(self, name).contiguous() for name in VECTORS}
        tensors["vocabulary"] = self.vocabulary.int()
        for name, blocks in self.linears.items():
            tensors[f"{name}.codes"], tensors[f"{name}.scales"] = blocks.codes, blocks.scales
        settings = {"taps": self.taps, "eps": self.eps, "pieces": self.pieces, "num_layers": self.num_layers}
        save_file(tensors, path, {"format": FORMAT, "settings": json.dumps(settings)})

    @classmethod
    def load(cls, path: Path) -> DraftWeights:
        """Read the file; raises CheckpointError if it cannot be read or is no draft head."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise CheckpointError(f"{path}: not a draft head ({FORMAT})")
                settings = json.loads(metadata["settings"])
                tensors: dict[str, torch.Tensor] = {
                    name: file.get_tensor(name) for name in sorted(file.keys())
                }
            return cls(
                taps=tuple(settings["taps"]),
                eps=settings["eps"],
                pieces=settings["pieces"],
                num_layers=settings["num_layers"],
                vocabulary=tensors["vocabulary"].long(),
                linears={
                    name: BlockWeights(tensors[f"{name}.codes"], tensors[f"{name}.scales"], None)
                    for name in LINEARS
                },
                **{name: tensors[name] for name in VECTORS},
            )
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror or error}") from error
        except (SafetensorError, ValueError, KeyError) as error:
            raise CheckpointError(f"{path}: not a readable draft head: {error}") from error


def fingerprint(vocabulary: torch.Tensor, token_bytes: Callable[[int], bytes]) -> str:
    """Return a hash of what the tokens of `vocabulary` stand for, in hexadecimal digits."""
    digest = hashlib.sha256()
    for token in vocabulary.tolist():
        piece = token_bytes(token)
        digest.update(len(piece).to_bytes(4, "little") + piece)
    return digest.hexdigest()
