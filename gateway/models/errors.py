"""What the model store raises.

ModelStoreError
├── ModelNotPulled     known, but not on this machine yet; says the command
├── ModelUnknown       nothing by this name anywhere we look
├── NotAModel          a local path that is neither a GGUF file nor a Hugging Face directory
└── PullFailed         offline, disk full, wrong checksum; says what and what to do
"""

from __future__ import annotations

from gateway.errors import GatewayError


class ModelStoreError(GatewayError):
    """Root of the model store's exceptions."""


class ModelNotPulled(ModelStoreError):
    """A known model that is not on this machine yet."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Model '{name}' is not on this machine. Run: forebay models pull {name}")
        self.name = name


class ModelUnknown(ModelStoreError):
    """Nothing by this name anywhere we look."""


class NotAModel(ModelStoreError):
    """A local path that is neither a GGUF file nor a Hugging Face directory."""


class PullFailed(ModelStoreError):
    """A download that did not arrive, or not as it should be."""
