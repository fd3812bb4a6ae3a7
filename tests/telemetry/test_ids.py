from __future__ import annotations

import os

from telemetry.ids import new_id


def test_ids_are_new_each_time() -> None:
    ids = {new_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


def test_a_forked_child_does_not_repeat_its_parent() -> None:
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 64).decode() != new_id()
    os.close(read)
    os.close(write)
