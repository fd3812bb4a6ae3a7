"""The compressor as a strategy."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.compression.compress import MAX_CHARS
from gateway.window.base import CannotShorten, Means, Overlong, Progress
from gateway.window.compressed import Compressed

TOWN = "\n\n".join(
    f"The {word} of the town was built in {1700 + n}. Nobody knows who owns it today. "
    f"It is worth {n}00 guilders."
    for n, word in enumerate(["mill", "bridge", "tower", "harbour", "market", "chapel"] * 5)
)


async def ask(prompt: str, max_tokens: int) -> str:
    raise AssertionError("it asks nobody")


async def rank(question: str, texts: Sequence[str]) -> list[float] | None:
    return None


def tell(progress: Progress) -> None:
    raise AssertionError("it is done at once")


MEANS = Means(lambda text: len(text) // 4, ask, rank, tell)


@pytest.mark.parametrize("times", [2, 4, 10])
async def test_what_the_question_is_about_stays_within_the_budget(times: int) -> None:
    overlong = Overlong(TOWN, "When was the chapel built?", len(TOWN) // 4 // times, 1000)
    shorter = await Compressed().shorten(overlong, MEANS)
    assert "chapel of the town was built in 1705." in shorter and len(shorter) // 4 <= overlong.budget


@pytest.mark.parametrize(
    ("overlong", "why"),
    [
        (Overlong(TOWN, "When was the chapel built?", len(TOWN) // 4 // 5, 1000), "5.0 times smaller"),
        (Overlong(TOWN, " ", len(TOWN) // 8, 1000), "no question"),
        (Overlong("x" * (MAX_CHARS + 1), "Why?", MAX_CHARS // 8, 1000), "characters"),
        (Overlong("x" * 4000, "Why?", 500, 1000), "too little"),
    ],
)
async def test_it_says_why_it_is_of_no_use(overlong: Overlong, why: str) -> None:
    with pytest.raises(CannotShorten, match=why):
        await Compressed(most=4).shorten(overlong, MEANS)
