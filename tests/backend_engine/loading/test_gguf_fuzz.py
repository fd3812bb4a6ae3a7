"""Whatever a GGUF header says, reading it ends in our own errors: no crash, no hang, no huge allocation."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend_engine.errors import ModelError
from backend_engine.loading.checkpoint import load_checkpoint
from tests.backend_engine.support.tiny_models import random_model, save_gguf

MAX_BYTES = 64 * 1024 * 1024
# Counts and lengths are 64 bits wide: the values at which sizes overflow, wrap or do not fit the file.
_LENGTHS = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)

Edit = tuple[int, bytes, int]
"""Where, what to put there, how many bytes to take out for it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    save_gguf(random_model("llama", vocab_size=700), path, gguf.GGMLQuantizationType.Q4_1)
    return path.read_bytes()


def edits() -> st.SearchStrategy[list[Edit]]:
    flips = st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=4), st.just(-1))
    numbers = st.tuples(
        st.integers(0, 2**20), st.sampled_from(_LENGTHS).map(lambda n: struct.pack("<Q", n)), st.just(-1)
    )
    splices = st.tuples(st.integers(0, 2**20), st.binary(max_size=16), st.integers(0, 64))
    return st.lists(st.one_of(flips, numbers, splices), min_size=1, max_size=4)


def damaged(whole: bytes, header: int, changes: list[Edit]) -> bytes:
    """Apply `changes` to the first `header` bytes; -1 overwrites as many bytes as are put in."""
    data = whole
    for at, new, removed in changes:
        at %= header
        data = data[:at] + new + data[at + (len(new) if removed < 0 else removed) :]
    return data


# The front of the header, where every byte is a count, a type or a length, and all of it with the vocabulary.
@pytest.mark.parametrize("share", [0.01, 1.0])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=edits())
def test_a_damaged_header_ends_in_our_own_errors(
    whole: bytes, tmp_path: Path, share: float, changes: list[Edit]
) -> None:
    header = whole.index(b"blk.1.ffn_up.weight") + 64
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged(whole, max(64, int(header * share)), changes))
    tracemalloc.start()
    try:
        load_checkpoint(path)
    except ModelError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MAX_BYTES


@pytest.mark.parametrize("length", _LENGTHS[2:])
def test_every_count_may_lie(whole: bytes, tmp_path: Path, length: int) -> None:
    path = tmp_path / "lying.gguf"
    for at in (8, 16, 24):  # tensors, metadata entries, length of the first key
        path.write_bytes(whole[:at] + struct.pack("<Q", length) + whole[at + 8 :])
        with pytest.raises(ModelError):
            load_checkpoint(path)
