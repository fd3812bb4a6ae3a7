"""Block names tell contexts apart by everything that comes before, and by salt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend_engine.kv.hashing import chain_root, extend_chain

tokens = st.lists(st.integers(0, 50_000), max_size=40)


def names_of(token_ids: list[int], salt: str = "", size: int = 4) -> list[bytes]:
    digests: list[bytes] = []
    extend_chain(digests, chain_root(salt), token_ids, size)
    return digests


@given(tokens, tokens)
def test_equal_names_mean_equal_tokens_up_to_there(a: list[int], b: list[int]) -> None:
    for index, (name_a, name_b) in enumerate(zip(names_of(a), names_of(b), strict=False)):
        end = (index + 1) * 4
        assert (name_a == name_b) == (a[:end] == b[:end])


@given(tokens, st.integers(0, 40))
def test_a_chain_grown_bit_by_bit_is_the_chain_of_the_whole(token_ids: list[int], cut: int) -> None:
    digests: list[bytes] = []
    extend_chain(digests, chain_root("t"), token_ids[:cut], 4)
    extend_chain(digests, chain_root("t"), token_ids, 4)
    assert digests == names_of(token_ids, "t")


def test_only_full_blocks_have_names() -> None:
    assert [len(names_of(list(range(n)))) for n in (3, 4, 7, 8)] == [0, 1, 1, 2]


def test_salts_share_nothing() -> None:
    assert not set(names_of(list(range(16)), "tenant-a")) & set(names_of(list(range(16)), "tenant-b"))
