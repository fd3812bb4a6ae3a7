"""Loads the kernels that suit this machine, and says once why there are none."""

from __future__ import annotations

import ctypes
from functools import cache

import structlog

from backend_engine.native.abi import (
    BatchStruct,
    DraftBatchStruct,
    DraftModelStruct,
    DrawStruct,
    LinearStruct,
    ModelStruct,
    PagesStruct,
)
from backend_engine.native.build import BuildError, supported_sets
from backend_engine.native.huge_memory import HugeMemory
from backend_engine.native.variant import Variant

_log = structlog.get_logger("engine")


class Library:
    """The C functions of one variant."""

    def __init__(self, instruction_set: str) -> None:
        """Load it from the wheel's library, or from one compiled here, which is done first if need be.

        Raises BuildError, or OSError if it does not load.
        """
        variant = Variant(instruction_set)
        self.origin = variant.origin
        self.instruction_set = instruction_set
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        function = variant.function
        self.team_new = function("team_new", pointer, ctypes.c_int)
        self.team_delete = function("team_delete", None, pointer)
        self.linear = function("linear", None, pointer, ctypes.POINTER(LinearStruct), pointer, size, pointer)
        self.decoder_new = function("decoder_new", pointer, pointer, ctypes.POINTER(ModelStruct))
        self.decoder_delete = function("decoder_delete", None, pointer)
        self.decoder_forward = function(
            "decoder_forward", None, pointer, ctypes.POINTER(PagesStruct), ctypes.POINTER(BatchStruct)
        )
        self.draft_head_new = function("draft_head_new", pointer, pointer, ctypes.POINTER(DraftModelStruct))
        self.draft_head_delete = function("draft_head_delete", None, pointer)
        self.draft = function("draft", None, pointer, ctypes.POINTER(DraftBatchStruct))
        self.draw = function("draw", None, pointer, ctypes.POINTER(DrawStruct), size, size, pointer)

    def __str__(self) -> str:
        return f"{self.instruction_set}, {self.origin}"


class Team:
    """The threads that a product or a step is shared out over; they sleep between calls."""

    def __init__(self, library: Library, threads: int) -> None:
        self.library = library
        self.memory = HugeMemory()
        """Of the weights that they read."""
        self.handle: int = library.team_new(threads)

    def __del__(self) -> None:
        # Absent if the constructor failed.
        if hasattr(self, "handle"):
            self.library.team_delete(self.handle)


@cache
def native_library() -> Library | None:
    """Return the library for this machine, or None (and a line in the log) if it cannot be had."""
    try:
        return Library(supported_sets()[0])
    except (BuildError, OSError) as error:
        _log.warning("native_kernels_missing", reason=str(error), consequence="torch computes, far slower")
        return None
