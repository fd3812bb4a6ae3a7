"""Both tiers keep what they are given, forget the least recently used, and stay within their size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend_engine.kv.disk_tier import DiskTier
from backend_engine.kv.tiers import RamTier, Tier

FINGERPRINT = bytes(range(32))
OVERHEAD = 112
"""Bytes of a file beside its KV."""


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def kv(number: int, size: int = 1000) -> bytes:
    return bytes([number % 256]) * size


class SyncDisk(DiskTier):
    """A disk tier that has written when `put` returns, as far as a test can tell."""

    def put(self, name: bytes, data: bytes) -> None:
        self.put_and_wait(name, data)


@pytest.fixture(params=["ram", "disk"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tier]:
    """A tier with room for three blocks."""
    if request.param == "ram":
        yield RamTier(3000)
        return
    disk = SyncDisk(tmp_path / "kv", 3 * (1000 + OVERHEAD), FINGERPRINT)
    yield disk
    disk.close()


def test_a_tier_returns_what_it_was_given(tier: Tier) -> None:
    tier.put(name(1), kv(1))
    assert name(1) in tier
    assert tier.get(name(1)) == kv(1)
    assert name(2) not in tier
    assert tier.get(name(2)) is None


def test_a_tier_forgets_what_was_not_used_for_longest(tier: Tier) -> None:
    for number in (1, 2, 3):
        tier.put(name(number), kv(number))
    tier.touch(name(1))
    tier.put(name(4), kv(4))
    assert [number for number in range(1, 5) if name(number) in tier] == [1, 3, 4]


def test_a_block_larger_than_the_tier_is_not_kept(tier: Tier) -> None:
    tier.put(name(1), kv(1))
    tier.put(name(2), kv(2, 5000))
    assert name(2) not in tier


def test_what_falls_out_of_memory_is_handed_on() -> None:
    out: list[bytes] = []
    tier = RamTier(2000, lambda name, data: out.append(name))
    for number in range(4):
        tier.put(name(number), kv(number))
    assert out == [name(0), name(1)]
    assert [item[0] for item in tier.newest_first()] == [name(3), name(2)]


class TestDisk:
    """What only a directory that outlives its process can do."""

    @staticmethod
    def reopened(directory: Path, fingerprint: bytes = FINGERPRINT, max_bytes: int = 1 << 20) -> DiskTier:
        tier = DiskTier(directory, max_bytes, fingerprint)
        tier.close()
        return tier

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        tier = DiskTier(tmp_path / "kv", 1 << 20, FINGERPRINT)
        for number in range(3):
            tier.put(name(number), kv(number))
        tier.close()
        return tmp_path / "kv"

    def file(self, directory: Path, number: int) -> Path:
        return next(path for path in directory.iterdir() if name(number).hex() in path.name)

    def test_blocks_outlive_the_tier_that_wrote_them(self, directory: Path) -> None:
        tier = self.reopened(directory)
        assert [tier.get(name(number)) for number in range(3)] == [kv(number) for number in range(3)]

    def test_a_block_that_is_still_being_written_can_be_read(self, directory: Path) -> None:
        tier = self.reopened(directory)  # its thread has ended, so nothing will be written
        tier.put(name(9), kv(9))
        assert tier.get(name(9)) == kv(9)

    @pytest.mark.parametrize("at", [0, 7, 8, 39, 40, 71, 72, 79, 80, 111, 112, 500, 1111])
    def test_a_changed_byte_anywhere_is_a_miss_and_deletes_the_file(self, directory: Path, at: int) -> None:
        path = self.file(directory, 1)
        raw = bytearray(path.read_bytes())
        assert len(raw) == 1000 + OVERHEAD
        raw[at] ^= 1
        path.write_bytes(raw)
        tier = self.reopened(directory)
        assert tier.get(name(1)) is None
        assert name(1) not in tier
        assert not path.exists()
        assert tier.get(name(2)) == kv(2)

    @pytest.mark.parametrize("size", [0, 50, 112, 1111])
    def test_a_file_cut_short_is_a_miss(self, directory: Path, size: int) -> None:
        os.truncate(self.file(directory, 1), size)
        assert self.reopened(directory).get(name(1)) is None

    def test_a_file_under_another_name_is_a_miss(self, directory: Path) -> None:
        os.replace(self.file(directory, 1), self.file(directory, 2))
        assert self.reopened(directory).get(name(2)) is None

    def test_another_model_s_blocks_are_never_found_and_go_first(self, directory: Path) -> None:
        other = DiskTier(directory, 4 * (1000 + OVERHEAD), bytes(32))
        assert other.get(name(1)) is None
        for number in range(3):
            other.put_and_wait(name(number), kv(7))
        other.close()
        assert [other.get(name(number)) for number in range(3)] == [kv(7)] * 3
        assert len(list(directory.iterdir())) == 4, "three of its own, and one that there was room for"

    def test_a_tier_reopened_smaller_keeps_the_latest(self, directory: Path) -> None:
        os.utime(self.file(directory, 0), (2e9, 2e9))
        tier = self.reopened(directory, max_bytes=1000 + OVERHEAD)
        assert [name(number) in tier for number in range(3)] == [True, False, False]

    def test_what_a_killed_writer_left_is_removed(self, directory: Path) -> None:
        (directory / "0011-22.kv.tmp").write_bytes(b"half")
        self.reopened(directory)
        assert not list(directory.glob("*.tmp"))

    def test_a_file_that_vanished_is_a_miss(self, directory: Path) -> None:
        tier = self.reopened(directory)
        self.file(directory, 1).unlink()
        assert tier.get(name(1)) is None
        assert name(1) not in tier

    def test_nobody_else_can_read_the_files(self, directory: Path) -> None:
        assert directory.stat().st_mode & 0o077 == 0
        assert self.file(directory, 1).stat().st_mode & 0o077 == 0
