"""What was decided is not decided again."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.compression.remembered import Remembered, digest, remembering


def test_a_decision_is_made_once() -> None:
    remembered: Remembered[bool] = Remembered()
    assert remembered.once(b"a", lambda: True) is True
    assert remembered.once(b"a", lambda: False) is True


def test_what_was_not_needed_for_longest_makes_room() -> None:
    remembered: Remembered[int] = Remembered(2)
    remembered.put(b"a", 1)
    remembered.put(b"b", 2)
    remembered.once(b"a", lambda: 0)
    remembered.put(b"c", 3)
    assert [key in remembered for key in (b"a", b"b", b"c")] == [True, False, True]


def test_parts_of_a_digest_do_not_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")


async def test_a_ranking_that_failed_once_fails_again() -> None:
    answers: list[list[float] | None] = [None, [1.0], [0.5]]

    async def rank(question: str, texts: Sequence[str]) -> list[float] | None:
        return answers.pop(0)

    found: Remembered[list[float] | None] = Remembered()
    ranked = remembering(rank, found, "acme")
    assert [await ranked("q", ["a"]) for _ in range(3)] == [None, None, None]
    assert await ranked("q", ["b"]) == [1.0] == await ranked("q", ["b"])
    assert await remembering(rank, found, "other")("q", ["a"]) == [0.5]
