"""A Hugging Face directory: config.json, safetensors files, tokenizer files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from backend_engine.chat_template import ChatTemplate
from backend_engine.errors import CheckpointError, UnsupportedModel
from backend_engine.loading.huggingface_config import read_config
from backend_engine.loading.json_file import read_json_object
from backend_engine.tokenizer import Tokenizer
from backend_engine.tokenizer.from_huggingface import token_content, tokenizer_from_directory

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_DTYPES = ("F32", "F16", "BF16")


class HuggingFaceDirectory:
    """One directory, whose tensor files are memory-mapped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.config = read_config(path)
        self._files: dict[Path, Any] = {}
        self._file_of = self._locate_tensors()

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer of tokenizer.json and tokenizer_config.json."""
        return tokenizer_from_directory(self._path)

    def chat_template(self) -> ChatTemplate | None:
        """Return the template of chat_template.jinja or tokenizer_config.json, if there is one."""
        settings = read_json_object(self._path / "tokenizer_config.json", optional=True)
        source = settings.get("chat_template")
        if isinstance(source, list):  # several by name
            named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
            source = named.get("default")
        file = self._path / "chat_template.jinja"
        if file.exists():
            try:
                source = file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise CheckpointError(f"{file}: not UTF-8: {error}") from error
        if source is None:
            return None
        if not isinstance(source, str):
            raise CheckpointError(f"{self._path}/tokenizer_config.json: chat_template is not a text")
        return ChatTemplate(
            source,
            bos_token=token_content(settings.get("bos_token")),
            eos_token=token_content(settings.get("eos_token")),
        )

    def tensor(self, name: str) -> torch.Tensor:
        """Return tensor `name` in fp32; raises CheckpointError if there is none."""
        if name not in self._file_of:
            raise CheckpointError(f"{self._path}: tensor {name} is missing")
        path = self._file_of[name]
        file = self._open(path)
        try:
            dtype = file.get_slice(name).get_dtype()
            if dtype not in _DTYPES:
                known = ", ".join(_DTYPES)
                raise UnsupportedModel(f"{path}: tensor {name} has type {dtype}; supported are {known}")
            tensor: torch.Tensor = file.get_tensor(name)
        except SafetensorError as error:
            raise CheckpointError(f"{path}: tensor {name} cannot be read: {error}") from error
        # A copy, because the original is a view of the file.
        return tensor.to(torch.float32, copy=True)

    def blocks(self, name: str) -> None:
        """Return None: no tensor is stored in blocks."""

    def _locate_tensors(self) -> dict[str, Path]:
        """Return the file of every tensor."""
        single, index = self._path / _SINGLE, self._path / _INDEX
        if single.exists():
            return dict.fromkeys(self._open(single).keys(), single)
        if not index.exists():
            raise CheckpointError(f"{self._path}: neither {_SINGLE} nor {_INDEX} is there")
        weight_map = read_json_object(index).get("weight_map")
        if not isinstance(weight_map, dict):
            raise CheckpointError(f"{index}: weight_map is missing")
        file_of: dict[str, Path] = {}
        for name, file in weight_map.items():
            if not isinstance(file, str) or Path(file).name != file:
                raise CheckpointError(f"{index}: {file!r} is not a file of this directory")
            file_of[name] = self._path / file
        for path in sorted(set(file_of.values())):
            present = set(self._open(path).keys())
            if lost := sorted(name for name, file in file_of.items() if file == path and name not in present):
                raise CheckpointError(f"{path}: tensor {lost[0]} is missing, the index places it here")
        return file_of

    def _open(self, path: Path) -> Any:
        if path not in self._files:
            if not path.exists():
                raise CheckpointError(f"{path}: no such file")
            try:
                self._files[path] = safe_open(path, framework="pt")
            except SafetensorError as error:
                raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error
        return self._files[path]
