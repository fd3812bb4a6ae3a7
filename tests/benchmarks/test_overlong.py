"""Facts stand where the table says, and only there; what was found is counted as it was."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks._overlong import Result, Spent, count, figures, keep_head, keep_tail, published, ratios, table
from benchmarks._overlong_data import DEPTHS, NEEDLES, cases
from gateway.window.base import Overlong

RECORDS: list[dict[str, Any]] = [
    {
        "documents": [
            {
                "title": f"Hamlet {number}-{place}",
                "text": f"It has {place} wells. Its people keep geese. In spring they mend {number} nets.",
            }
            for place in range(5)
        ]
    }
    for number in range(40)
]


def test_every_fact_stands_once_at_its_depth_between_two_sentences() -> None:
    asked = cases(RECORDS, 10_000, 3)
    assert len(asked) == 15 and len({case.needle for case in asked}) == 15
    for case in asked:
        assert case.text.count(case.needle.fact) == 1
        at = case.text.index(case.needle.fact)
        assert abs(at / len(case.text) - case.depth / 100) < 0.05
        assert f". {case.needle.fact} " in case.text


def test_all_documents_of_a_depth_are_one_and_all_depths_are_alike() -> None:
    asked = cases(RECORDS, 10_000, 3)
    assert len({case.text for case in asked}) == len(DEPTHS)
    lengths = [len(case.text) for case in asked]
    assert min(lengths) >= 10_000 and max(lengths) < 11_000


def test_no_passage_holds_an_answer_of_its_own() -> None:
    telling = {"documents": [{"title": "Bees", "text": f"They make {needle.answer}."} for needle in NEEDLES]}
    for case in cases([telling, *RECORDS], 10_000, 1):
        assert case.text.lower().count(case.needle.answer.lower()) == 1


def test_a_fact_answers_its_own_question_only() -> None:
    for needle in NEEDLES:
        assert needle.answer in needle.fact and needle.answer not in needle.question
        assert [other for other in NEEDLES if needle.answer.lower() in other.fact.lower()] == [needle]


@pytest.mark.parametrize("keep", [keep_head, keep_tail])
async def test_baselines_keep_to_the_budget(keep: Any) -> None:
    text = "\n".join(f"line {number}" for number in range(1000))
    left = await keep(Overlong(text, "?", 100, 100))
    assert left in text and 90 <= count(left) <= 101


RESULTS = [
    Result(0, True, False, Spent(10, 1000, 100, 8.0)),
    Result(0, False, False, Spent(2, 200, 0, 1.0)),
    Result(100, True, True, Spent(3, 300, 20, 3.0)),
]


def test_figures_are_shares_by_depth_and_the_first_question_stands_apart() -> None:
    found = figures(RESULTS)
    assert (found["found_0"], found["found_100"], found["found"]) == (0.5, 1.0, 0.667)
    assert (found["answered_0"], found["answered"]) == (0.0, 0.333)
    assert (found["first_s"], found["later_s"], found["calls"]) == (8.0, 2.0, 5.0)
    assert found["first_cost_usd"] == pytest.approx((1000 * 2.5 + 100 * 10) / 1e6)


def test_strategies_are_ours_and_baselines_are_peers() -> None:
    ours, peers = published({"retrieve": RESULTS, "truncate-head": RESULTS[1:2]})
    assert ours["retrieve_found"] == 0.667 and peers["truncate-head"]["found"] == 0.0
    assert "found" not in peers["larger-window"] and peers["larger-window"]["cost_usd"] > 0
    better = ratios(ours, {name: {"overlong": values} for name, values in peers.items()})
    assert better["larger-window"]["retrieve_cost_usd"] > 1
    assert "retrieve" in table({"retrieve": RESULTS}) and "-" in table({"retrieve": RESULTS})
