"""What the compressor's benchmark counts, and how its peers spend their budget."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks._compress_data import key_value, multi_document, nearest_distractors
from benchmarks._compress_perplexity import WAYS
from benchmarks.compress import BASELINES, atoms_intact, baseline, json_intact
from tests.gateway.support.likelihoods import letters


def record(number: int) -> dict[str, Any]:
    documents = [
        {
            "title": f"Town {number}-{place}",
            "text": f"Town {number}-{place} has {place} mills. It is old. " * 4,
        }
        for place in range(3)
    ]
    documents[1]["text"] += f"Its mayor is Person{number}."
    return {
        "question": f"Who is mayor of town {number}-1?",
        "answers": [f"Person{number}"],
        "documents": documents,
        "gold_index": 1,
    }


RECORDS = [record(number) for number in range(14)]


def test_an_answer_survives_in_the_documents_and_not_in_the_question() -> None:
    case = multi_document(RECORDS)[0]
    assert case.survives(case.prompt) and not case.survives(case.around(""))
    assert not case.survives(case.around("") + "\n" + "person1")


def test_near_distractors_hold_no_answer() -> None:
    for case in nearest_distractors(RECORDS):
        assert case.documents.count("Document [") == 10
        assert case.documents.count(case.answers[0]) == 1


@pytest.mark.parametrize("name", BASELINES)
def test_peers_keep_to_the_ratio(name: str) -> None:
    figures = baseline(multi_document(RECORDS), BASELINES[name])
    assert figures["ratio_2x"] >= 1.99 and figures["recall_2x"] <= 1


def test_changed_values_are_seen() -> None:
    (case,) = key_value([{"pairs": [["a", "v-1"], ["b", "v-2"]], "key": "a", "value": "v-1"}])
    assert json_intact(case, case.prompt) and not json_intact(case, case.around(json.dumps({"a": "v-2"})))
    assert not json_intact(case, case.around("{"))
    assert atoms_intact("paid 12.50", "paid 12.50 [3 passages left out]") and not atoms_intact(
        "12.50", "12.5"
    )


@pytest.mark.parametrize("name", WAYS)
async def test_ways_that_read_with_a_model_keep_to_the_budget(name: str) -> None:
    case = multi_document(RECORDS)[0]
    kept = await WAYS[name](case, 200, letters)
    assert 0 < len(kept) <= 200
    # Nothing but what was there, in its order.
    left = iter(case.documents)
    assert all(character in left for character in kept.replace(" ", "").replace("\n", ""))


async def test_what_the_question_tells_of_decides_only_where_it_is_asked() -> None:
    """The question's own words are no news behind it."""
    one, other = multi_document(RECORDS)[0], replace(multi_document(RECORDS)[0], question="Is Person0 old?")
    for name in ("perplexity-blind", "llmlingua"):
        assert await WAYS[name](one, 200, letters) == await WAYS[name](other, 200, letters)
    assert "Person0" in await WAYS["longllmlingua"](other, 200, letters)
