"""`forebay engine`: turns this process into an engine."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Annotated, Literal  # noqa: F401  # the inherited annotations are evaluated in this module

from cyclopts import Parameter

from backend_engine.launcher import EngineOptions
from gateway.commands.failure import errors_as_exit_status
from gateway.config.schema import DEFAULT_MODEL


@dataclass(frozen=True, slots=True)
class EngineFlags(EngineOptions):
    """The engine's own options, with a model that may also be a name."""

    model: str = DEFAULT_MODEL
    """A model's name (see `forebay models list`), or the path of a GGUF file or a Hugging Face directory."""
    model_name: str | None = None
    """Name under which the model is served (default: what --model says)."""


def engine(*, flags: Annotated[EngineFlags, Parameter(name="*")] = EngineFlags()) -> None:
    """Serve one model on this machine, without a gateway, over an OpenAI-compatible HTTP API.

    `forebay serve` starts one of these by itself; start one by hand to run it on its own machine or port.
    """
    options = engine_options(flags)
    argv = options.argv()
    os.execv(argv[0], argv)


def engine_options(flags: EngineFlags) -> EngineOptions:
    """Return the engine's options with the model's name turned into its path."""
    from gateway.models.store import ModelStore

    given = {field.name: getattr(flags, field.name) for field in fields(flags)}
    with errors_as_exit_status():
        path = ModelStore().path(flags.model)
    return EngineOptions(**{**given, "model": str(path), "model_name": flags.model_name or flags.model})
