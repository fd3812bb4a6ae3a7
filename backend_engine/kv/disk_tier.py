"""Blocks on disk, one file each, which outlive the engine.

    magic and format version 8 · fingerprint 32 · name 32 · length 8 · SHA-256 of these and the KV 32 · KV

A file that is damaged, cut short, of another model, build or layout is a miss and is deleted; it is never KV.
Files hold what prompts left in a model's state, so only their owner may read them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import struct
import threading
from collections import OrderedDict
from pathlib import Path

import structlog

_MAGIC = b"FBKVBLK1"
_HEADER = struct.Struct("<8s32s32sQ")
_DIGEST_BYTES = 32
_SUFFIX = ".kv"
_QUEUE_BLOCKS = 64
"""Blocks that may wait to be written. More are dropped: a slow disk costs hits, not memory or time."""
_log = structlog.get_logger("engine.kv")


class DiskTier:
    """A directory of blocks, least recently used deleted first. One thread calls it; another one writes.

    `fingerprint` (32 bytes) stands for everything that the KV depends on beside the tokens (see
    `fingerprint.py`). Files of others in the same directory count towards `max_bytes` and go first.
    """

    def __init__(self, directory: Path, max_bytes: int, fingerprint: bytes) -> None:
        """Open or make the directory; raises OSError if that fails."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._max_bytes = max_bytes
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """By file name, the next to be deleted first."""
        self._bytes = 0
        self._pending: dict[bytes, bytes] = {}
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self._scan()
        self._thread = threading.Thread(target=self._write_all, name="kv-disk", daemon=True)
        self._thread.start()

    def __contains__(self, name: bytes) -> bool:
        with self._lock:
            return name in self._pending or self._file_name(name) in self._sizes

    def get(self, name: bytes) -> bytes | None:
        file_name = self._file_name(name)
        with self._lock:
            pending = self._pending.get(name)
            known = file_name in self._sizes
        if pending is not None or not known:
            return pending
        try:
            data = self._payload(name, (self._directory / file_name).read_bytes())
            if data is None:
                _log.warning("kv_file_damaged", file=file_name)
        except OSError as error:
            _log.warning("kv_file_unreadable", file=file_name, error=error.strerror)
            data = None
        if data is None:
            with self._lock:
                self._delete(file_name)
        return data

    def put(self, name: bytes, data: bytes) -> None:
        with self._lock:
            full = len(self._pending) >= _QUEUE_BLOCKS
            if full or name in self._pending or self._file_name(name) in self._sizes:
                return
            self._pending[name] = data
        self._queue.put(name)

    def touch(self, name: bytes) -> None:
        file_name = self._file_name(name)
        with self._lock:
            if file_name in self._sizes:
                self._sizes.move_to_end(file_name)
        # For the next run, which has only the files to go by.
        with contextlib.suppress(OSError):
            os.utime(self._directory / file_name)

    def put_and_wait(self, name: bytes, data: bytes) -> None:
        """As `put`, but wait for the disk instead of dropping the block."""
        if name not in self:
            self._write(name, data)

    def close(self) -> None:
        """Write what is pending and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _file_name(self, name: bytes) -> str:
        return f"{self._fingerprint[:8].hex()}-{name.hex()}{_SUFFIX}"

    def _scan(self) -> None:
        """Take in the files of earlier runs, and delete what a killed one left half written."""
        ours = f"{self._fingerprint[:8].hex()}-"
        found: list[tuple[bool, float, str, int]] = []
        for entry in os.scandir(self._directory):
            if entry.name.endswith(".tmp"):
                os.unlink(entry.path)
            elif entry.name.endswith(_SUFFIX):
                stat = entry.stat()
                found.append((entry.name.startswith(ours), stat.st_mtime, entry.name, stat.st_size))
        for _, _, file_name, size in sorted(found):
            self._sizes[file_name] = size
            self._bytes += size
        self._make_room(0)

    def _header(self, name: bytes, length: int) -> bytes:
        return _HEADER.pack(_MAGIC, self._fingerprint, name, length)

    def _payload(self, name: bytes, raw: bytes) -> bytes | None:
        """Return the KV in a file's bytes, None unless every one of them is as it was written."""
        start = _HEADER.size + _DIGEST_BYTES
        data = raw[start:]
        header = self._header(name, len(data))
        if raw[: _HEADER.size] != header or raw[_HEADER.size : start] != _digest(header, data):
            return None
        return data

    def _write_all(self) -> None:
        while (name := self._queue.get()) is not None:
            self._write(name, self._pending[name])
            with self._lock:
                del self._pending[name]

    def _write(self, name: bytes, data: bytes) -> None:
        file_name = self._file_name(name)
        header = self._header(name, len(data))
        size = len(header) + _DIGEST_BYTES + len(data)
        with self._lock:
            if not self._make_room(size):
                return
        temporary = self._directory / f"{file_name}.tmp"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(header + _digest(header, data))
                file.write(data)
            os.replace(temporary, self._directory / file_name)
        except OSError as error:
            _log.warning("kv_file_not_written", file=file_name, error=error.strerror)
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        with self._lock:
            self._sizes[file_name] = size
            self._bytes += size

    def _make_room(self, size: int) -> bool:
        """Delete old files until `size` bytes fit; False if they never would. Needs the lock."""
        if size > self._max_bytes:
            return False
        while self._bytes + size > self._max_bytes:
            self._delete(next(iter(self._sizes)))
        return True

    def _delete(self, file_name: str) -> None:
        self._bytes -= self._sizes.pop(file_name, 0)
        with contextlib.suppress(FileNotFoundError):
            (self._directory / file_name).unlink()


def _digest(header: bytes, data: bytes) -> bytes:
    digest = hashlib.sha256(header)
    digest.update(data)
    return digest.digest()
