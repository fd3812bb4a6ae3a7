"""What becomes of a conversation: what may go, what never does, and that a prefix keeps its bytes."""

from __future__ import annotations

import asyncio
import json
import re
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.compression.compress import Compressed, compress
from gateway.compression.mode import AUTO, LOSSLESS, STAGES, Mode, Stage
from gateway.compression.perplexity.reading import reading_with
from gateway.compression.prompt import read_messages
from tests.gateway.support.likelihoods import letters

SUBJECTS = ["mill", "bridge", "tower", "harbour", "market", "chapel", "orchard", "quarry", "tavern", "school"]


def passage(subject: str, year: int) -> str:
    return (
        f"The {subject} of the old town was built in {year}. "
        f"People say that the {subject} is haunted, which nobody believes. "
        f"Its owner sold the {subject} for {year * 3} guilders to a merchant."
    )


def documents(years: list[int]) -> str:
    return "\n\n".join(passage(subject, year) for subject, year in zip(SUBJECTS, years, strict=False))


def ask(subject: str, years: list[int]) -> str:
    return f"Answer from the text.\n\n{documents(years)}\n\nWhen was the {subject} built?"


async def fake_rank(question: str, texts: Any) -> list[float]:
    """A number for each pair that depends on nothing else, as an embedder's does."""
    return [sha256((question + text).encode()).digest()[0] / 255 for text in texts]


async def done(messages: list[Any], mode: Mode, **more: Any) -> tuple[list[Any], Compressed]:
    body = json.dumps(messages).encode()
    made = await compress(read_messages(body, 0, len(body)), mode, **more)
    out = body
    for change in sorted(made.changes, key=lambda change: -change.text.start):
        out = out[: change.text.start] + json.dumps(change.value).encode() + out[change.text.end :]
    return json.loads(out), made


async def content(text: str, mode: Mode, role: str = "user", **more: Any) -> str:
    before = [{"role": "user", "content": "When was the mill built?"}] if role == "tool" else []
    return (await done([*before, {"role": role, "content": text}], mode, **more))[0][-1]["content"]


YEARS = list(range(1704, 1714))


@pytest.mark.parametrize("ratio", [2.0, 4.0, 8.0])
async def test_a_ratio_is_kept_to_and_the_answer_with_it(ratio: float) -> None:
    text = ask("tower", YEARS)
    smaller = await content(text, Mode("ratio", ratio))
    assert len(smaller) <= len(text) / ratio
    assert "tower of the old town was built in 1706" in smaller
    assert smaller.startswith("Answer from the text.") and smaller.endswith("When was the tower built?")


async def test_auto_keeps_what_has_to_do_with_the_question() -> None:
    smaller = await content(ask("tower", YEARS), AUTO)
    assert passage("tower", 1706) in smaller and "mill" not in smaller and "passages left out" in smaller


@pytest.mark.parametrize("question", ["Summarise the text.", "How many buildings are there?"])
async def test_auto_drops_nothing_that_a_question_about_the_whole_needs(question: str) -> None:
    text = f"{documents(YEARS)}\n\n{question}"
    assert await content(text, AUTO) == text
    log = [
        {"role": "user", "content": question},
        {"role": "tool", "tool_call_id": "c", "content": STAGED["cut"]},
    ]
    assert (await done(log, AUTO))[0] == log


async def test_lossless_drops_nothing() -> None:
    text = ask("tower", YEARS)
    assert await content(text, LOSSLESS) == text


async def test_questions_about_form_leave_everything_as_it_is() -> None:
    text = f"{json.dumps([{'id': n} for n in range(99)], indent=4)}\n\nFix the indentation."
    assert await content(text, Mode("ratio", 4.0)) == text


@pytest.mark.parametrize("role", ["system", "developer", "assistant", "unknown"])
@pytest.mark.parametrize("mode", [LOSSLESS, AUTO, Mode("ratio", 4.0)])
async def test_no_other_role_is_touched(role: str, mode: Mode) -> None:
    text = json.dumps([{"id": n} for n in range(99)], indent=4) + "\n\n\n\n" + documents(YEARS)
    assert await content(text, mode, role) == text


async def test_code_is_kept_byte_for_byte_or_left_out() -> None:
    code = "```python\ndef f(x):   \n\n\n\n    return {'a':  1}\n```"
    text = f"{documents(YEARS)}\n\n{code}\n\n{documents(YEARS)}\n\nWhen was the mill built?"
    assert code in await content(text, LOSSLESS)
    for ratio in (1.5, 2.0, 4.0):
        smaller = await content(text, Mode("ratio", ratio))
        assert code in smaller or "```" not in smaller


async def test_code_that_a_user_shows_is_kept_in_auto() -> None:
    code = "```\nraise ValueError(mend)\n```"
    text = f"{documents(YEARS)}\n\n{code}\n\nWhen was the tower built?"
    smaller = await content(text, AUTO)
    assert len(smaller) < len(text) / 2 and code in smaller


async def test_tool_calls_and_their_results_stay_together() -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": json.dumps({"a": 1}, indent=2)},
    }
    messages = [
        {"role": "user", "content": "When was the mill built?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": documents(YEARS)},
    ]
    after, made = await done(messages, Mode("ratio", 4.0))
    assert made.changes and after[:2] == messages[:2]
    assert {**after[2], "content": ""} == {**messages[2], "content": ""}
    assert "mill of the old town was built in 1704" in after[2]["content"]


async def test_source_code_from_a_tool_is_left_whole_in_auto() -> None:
    code = "\n".join(f"    value_{n} = compute(mill_{n});" for n in range(90))
    assert await content(code, AUTO, "tool") == code


async def test_a_repeated_document_is_referred_to() -> None:
    text = ask("mill", YEARS)
    after, made = await done([{"role": "user", "content": text}, {"role": "user", "content": text}], LOSSLESS)
    assert after[0]["content"] == text and len(after[1]["content"]) < 0.75 * len(text)
    assert set(made.saved) == {"duplicates"}


STAGED: dict[Stage, str] = {
    "json": json.dumps([{"id": n, "name": f"n{n}"} for n in range(60)], indent=2),
    "lines": "\n".join(["waiting for the database to come up"] * 60),
    "space": "\n\n\n\n".join(f"Line {n}   " for n in range(90)),
    "duplicates": documents(YEARS) + "\n\n" + documents(YEARS),
    "cut": "\n".join(f"step {n} is done" for n in range(400)),
    "select": documents(YEARS),
    "prune": documents(YEARS),
}
TIGHT = Mode("ratio", 8.8)
"""A little less room than the best passage takes."""


@pytest.mark.parametrize("stage", STAGES)
async def test_each_stage_is_reported_and_can_be_switched_off(stage: Stage) -> None:
    mode = AUTO if stage in ("cut", "select") else TIGHT if stage == "prune" else LOSSLESS
    messages = [
        {"role": "user", "content": "When was the mill built?"},
        {"role": "tool", "tool_call_id": "c", "content": STAGED[stage]},
    ]
    read = reading_with(letters)
    after, made = await done(messages, mode, read=read)
    assert made.saved[stage] > 0 and len(after[1]["content"]) < len(STAGED[stage])
    _, made = await done(messages, mode, stages=[other for other in STAGES if other != stage], read=read)
    assert stage not in made.saved


TURNS = st.lists(
    st.tuples(
        st.sampled_from(SUBJECTS),
        st.lists(st.integers(1000, 1999), min_size=10, max_size=10, unique=True),
        st.booleans(),
    ),
    min_size=2,
    max_size=5,
)


def conversation(turns: list[tuple[str, list[int], bool]]) -> tuple[list[Any], list[int]]:
    """The messages, and where the documents of each turn are."""
    messages: list[Any] = [{"role": "system", "content": "You are terse."}]
    places = []
    for number, (subject, years, tool) in enumerate(turns):
        if tool:
            call = {"id": f"c{number}", "type": "function", "function": {"name": "read", "arguments": "{}"}}
            messages += [
                {"role": "user", "content": f"When was the {subject} built?"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": f"c{number}", "content": documents(years)},
            ]
        else:
            messages.append({"role": "user", "content": ask(subject, years)})
        places.append(len(messages) - 1)
        messages.append({"role": "assistant", "content": f"In {years[0]}."})
    return messages, places


@pytest.mark.parametrize("mode", [LOSSLESS, AUTO, Mode("ratio", 4.0), Mode("ratio", 7.8), TIGHT])
@pytest.mark.parametrize(
    ("rank", "score"), [(None, None), (fake_rank, None), (None, letters), (fake_rank, letters)]
)
@settings(max_examples=5, deadline=None)
@given(turns=TURNS)
def test_a_growing_conversation_keeps_the_bytes_of_its_prefix(
    mode: Mode, rank: Any, score: Any, turns: list[tuple[str, list[int], bool]]
) -> None:
    messages, places = conversation(turns)
    read = None if score is None else reading_with(score)

    async def grow() -> None:
        whole, made = await done(messages, mode, rank=rank, read=read)
        if mode.drops and rank is None:
            assert len(json.dumps(messages)) >= 2 * len(json.dumps(whole))
        for length in range(1, len(messages)):
            assert (await done(messages[:length], mode, rank=rank, read=read))[0] == whole[:length]
        for (subject, years, _), place in zip(turns, places, strict=True):
            if rank is None:
                # A document that came before is referred to.
                so_far = json.dumps(whole[: place + 1])
                year = years[SUBJECTS.index(subject)]
                # Its small words may have gone.
                built = rf"{subject}( of)?( the)? old town( was)? built( in)? {year}"
                assert re.search(built, so_far), (subject, year)
        # Every number that is left is one that was there.
        before = set(re.findall(r"\d+", json.dumps(messages)))
        for change in made.changes:
            said = re.sub(r"\[[^\]\n]*left out\]", "", change.value)
            assert set(re.findall(r"\d+", said)) <= before

    asyncio.run(grow())
