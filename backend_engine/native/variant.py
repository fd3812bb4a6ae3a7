"""The library's functions, as one instruction set has them; without torch, for those who only embed."""

from __future__ import annotations

import ctypes
from typing import Any

import structlog

from backend_engine.native.build import LibraryFile, Origin, compiled_library, shipped_library

_log = structlog.get_logger("engine")


class Variant:
    """The wheel's library or one compiled here, and its functions for one instruction set."""

    def __init__(self, instruction_set: str) -> None:
        """Load it, compiling it first if need be; raises BuildError, or OSError if it does not load."""
        self._functions, self.origin = _load(instruction_set)
        self._suffix = instruction_set.replace("-", "_")

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        """Return a function, its types declared."""
        found = self._functions[f"forebay_{name}_{self._suffix}"]
        found.restype, found.argtypes = result, arguments
        return found


def _load(instruction_set: str) -> tuple[ctypes.CDLL, Origin]:
    shipped = shipped_library()
    if shipped is not None:
        try:
            return _open(shipped)
        except OSError as error:
            # Built for a newer C library than this machine has.
            _log.warning("native_kernels_shipped_unusable", reason=str(error), consequence="compiling here")
    return _open(compiled_library(instruction_set))


def _open(file: LibraryFile) -> tuple[ctypes.CDLL, Origin]:
    return ctypes.CDLL(str(file.path)), file.origin
