"""Loads the kernels that suit this machine, and says once why there are none."""

from __future__ import annotations

import ctypes
from functools import cache

import structlog

from backend_engine.native.abi import (
    BatchStruct,
    DraftBatchStruct,
    DraftModelStruct,
    LinearStruct,
    ModelStruct,
    PagesStruct,
)
from backend_engine.native.build import BuildError, library_path, supported_sets
from backend_engine.native.huge_memory import HugeMemory

_log = structlog.get_logger("engine")


class Library:
    """The C functions of one variant of the library."""

    def __init__(self, instruction_set: str) -> None:
        """Load it, compiling it first if need be; raises BuildError, or OSError if it does not load."""
        functions = ctypes.CDLL(str(library_path(instruction_set)))
        self.instruction_set = instruction_set
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        self.team_new = functions.forebay_team_new
        self.team_new.argtypes, self.team_new.restype = [ctypes.c_int], pointer
        self.team_delete = functions.forebay_team_delete
        self.team_delete.argtypes, self.team_delete.restype = [pointer], None
        self.linear = functions.forebay_linear
        self.linear.argtypes = [pointer, ctypes.POINTER(LinearStruct), pointer, size, pointer]
        self.linear.restype = None
        self.decoder_new = functions.forebay_decoder_new
        self.decoder_new.argtypes, self.decoder_new.restype = [pointer, ctypes.POINTER(ModelStruct)], pointer
        self.decoder_delete = functions.forebay_decoder_delete
        self.decoder_delete.argtypes, self.decoder_delete.restype = [pointer], None
        self.decoder_forward = functions.forebay_decoder_forward
        self.decoder_forward.argtypes = [pointer, ctypes.POINTER(PagesStruct), ctypes.POINTER(BatchStruct)]
        self.decoder_forward.restype = None
        self.draft_head_new = functions.forebay_draft_head_new
        self.draft_head_new.argtypes = [pointer, ctypes.POINTER(DraftModelStruct)]
        self.draft_head_new.restype = pointer
        self.draft_head_delete = functions.forebay_draft_head_delete
        self.draft_head_delete.argtypes, self.draft_head_delete.restype = [pointer], None
        self.draft = functions.forebay_draft
        self.draft.argtypes, self.draft.restype = [pointer, ctypes.POINTER(DraftBatchStruct)], None


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
