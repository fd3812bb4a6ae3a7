"""An entry's bytes come back as they were, or not at all."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.entry import Entry, decode_entry, encode_entry
from semantic_cache.errors import CorruptEntry
from semantic_cache.lifetime import Lifetimes
from tests.semantic_cache.support.samples import entry, key

DIGEST = key("a").digest
STORED = encode_entry(entry(1000.0, answer=b'{"a":1}', tags=("t",), span_id="s"), DIGEST)


def test_an_entry_comes_back_as_it_was() -> None:
    assert decode_entry(STORED, DIGEST) == entry(1000.0, answer=b'{"a":1}', tags=("t",), span_id="s")


@given(st.integers(0, len(STORED) * 8 - 1))
def test_a_flipped_bit_is_noticed(bit: int) -> None:
    broken = bytearray(STORED)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptEntry):
        decode_entry(bytes(broken), DIGEST)


@given(st.integers(0, len(STORED) - 1))
def test_a_cut_entry_is_noticed(length: int) -> None:
    with pytest.raises(CorruptEntry):
        decode_entry(STORED[:length], DIGEST)


def test_an_entry_of_another_key_is_noticed() -> None:
    with pytest.raises(CorruptEntry):
        decode_entry(STORED, key("a", "other").digest)


def test_an_entry_of_a_later_release_with_more_members_is_read() -> None:
    later = msgspec.defstruct("Later", [("more", str)], bases=(Entry,), array_like=True, kw_only=True)
    fields = msgspec.structs.asdict(entry(1.0))
    assert decode_entry(encode_entry(later(**fields, more="x"), DIGEST), DIGEST) == entry(1.0)


def test_age_and_freshness() -> None:
    kept = entry(1000.0, ttl=60, stale=30)
    assert kept.fresh(1059.9) and not kept.fresh(1060.0)
    assert kept.age(1005.0) == 5.0
    # Another host's clock was ahead.
    assert kept.age(990.0) == 0.0


def test_jitter_only_shortens_and_is_the_same_everywhere() -> None:
    times = Lifetimes(ttl_s=100, stale_s=50, jitter=0.2)
    ends = [times.of(key(str(n)).digest, 1000.0).expires_at for n in range(200)]
    assert all(1080 < end <= 1100 for end in ends)
    assert len(set(ends)) == 200
    assert ends[0] == times.of(key("0").digest, 1000.0).expires_at


def test_a_caller_can_shorten_the_time_to_live_but_not_extend_it() -> None:
    times = Lifetimes(ttl_s=100, stale_s=50, jitter=0)
    assert times.of(DIGEST, 1000.0) == (1000.0, 1100.0, 1150.0)
    assert times.of(DIGEST, 1000.0, 10.0).expires_at == 1010.0
    assert times.of(DIGEST, 1000.0, 999.0).expires_at == 1100.0


@pytest.mark.parametrize("wrong", [{"ttl_s": 0}, {"ttl_s": 1, "stale_s": -1}, {"ttl_s": 1, "jitter": 1}])
def test_lifetimes_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        Lifetimes(**wrong)
