"""The cache benchmark: what data it takes, what it asks over HTTP, and what it holds the cache to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _cache_http
from benchmarks._cache_data import Asked, BadData, LabelledPair, Sets, read, some
from benchmarks._cache_http import Reply, split
from benchmarks._cache_plan import BadRun, Size, plan
from benchmarks._cache_scores import figures, stream_figures
from benchmarks._cache_targets import targets
from benchmarks.peers.mock_answers import reply

PAIR = {"a": "How deep is the lake?", "b": "What is the depth of the lake?", "same": 1, "group": "reworded"}
QUESTION = {"text": "when does the ferry leave", "intent": "ferry"}


def written(folder: Path, **files: list[Any]) -> Path:
    for name, rows in files.items():
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_files_are_told_apart_by_their_fields(tmp_path: Path) -> None:
    sets = read(written(tmp_path, one=[PAIR, {**PAIR, "same": 0, "id": 7}], other=[QUESTION, ""]))
    assert [pair.same for pair in sets.pairs["one.jsonl"]] == [True, False]
    assert sets.streams == {"other.jsonl": [Asked("when does the ferry leave", "ferry")]}
    assert read(tmp_path, only=["other.jsonl"]).pairs == {}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([PAIR, "{"], "odd.jsonl:2: "),
        ([PAIR, "", {**PAIR, "same": 2}], "odd.jsonl:3: `same` is 2"),
        ([PAIR, {"a": "x", "b": "y"}], "odd.jsonl:2: Object missing required field `same`"),
        ([{**PAIR, "b": " "}], "odd.jsonl:1: a question is empty"),
        ([QUESTION, {"text": "x"}], "odd.jsonl:2: Object missing required field `intent`"),
        ([QUESTION, {"text": 5, "intent": "x"}], "odd.jsonl:2: Expected `str`, got `int`"),
        ([{"prompt": "x"}], "odd.jsonl:1: neither a pair"),
        ([[1]], "odd.jsonl:1: neither a pair"),
        ([], "odd.jsonl: it is empty"),
    ],
)
def test_what_cannot_be_used_is_told_by_file_and_line(tmp_path: Path, rows: list[Any], said: str) -> None:
    with pytest.raises(BadData) as raised:
        read(written(tmp_path, odd=rows))
    assert said in str(raised.value)


def test_a_folder_without_files_or_without_the_one_wanted_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such folder"):
        read(tmp_path / "nowhere")
    (tmp_path / "semantic").mkdir()
    with pytest.raises(BadData, match="it has the folders semantic"):
        read(tmp_path)
    with pytest.raises(BadData, match=r"there is no two.jsonl \(there are: one.jsonl\)"):
        read(written(tmp_path, one=[PAIR]), only=["two.jsonl"])


def test_a_quick_run_takes_pairs_from_all_of_a_set() -> None:
    pairs = [LabelledPair(str(n), "b", True, "") for n in range(10)]
    assert [pair.a for pair in some(Sets({"x": pairs}, {}), 4).pairs["x"]] == ["0", "3", "6", "9"]


def test_questions_that_mean_the_same_have_one_answer_and_others_do_not() -> None:
    pairs = [
        LabelledPair("deep lake", "lake depth", True, ""),
        LabelledPair("lake depth", "depth of the lake", True, ""),
        LabelledPair("deep lake", "wide lake", False, ""),
    ]
    streams = {"s": [Asked("ferry times", "ferry"), Asked("when is the ferry", "ferry"), Asked("hm", "oos")]}
    chosen = plan(Sets({"p": pairs}, streams), Size(entries=40, misses=5))
    answers = {text: chosen.table.answers[place] for text, place in chosen.table.questions.items()}
    assert answers["deep lake"] == answers["lake depth"] == answers["depth of the lake"]
    assert answers["ferry times"] == answers["when is the ferry"]
    groups = ["deep lake", "ferry times", "hm"]
    assert len({answers[text] for text in groups}) == 3
    assert len(chosen.stored) == 40 and chosen.reworded == ["depth of the lake"]
    assert not set(chosen.new) & set(chosen.stored)
    assert json.loads(reply(answers["hm"]))["choices"][0]["message"]["content"] == answers["hm"]


def test_without_questions_that_mean_the_same_there_is_nothing_to_measure() -> None:
    with pytest.raises(BadRun, match="no pair"):
        plan(Sets({"p": [LabelledPair("a", "b", False, "")]}, {}), Size())


def test_the_parts_of_a_hit_add_up_to_all_of_it() -> None:
    header = "semantic;dur=3, embed;dur=1.5, search;dur=0.5, gates;dur=0.25, candidates;dur=0, decide;dur=0.5"
    steps = _cache_http._timings(f"{header}, reread;dur=0.125, upstream;dur=0, overhead;dur=3.5")
    parts = split([Reply("x", "hit-semantic", True, 4.0, steps)])
    assert (parts["process"], parts["gateway"]) == (0.25, 0.875)
    assert sum(parts.values()) == pytest.approx(4.0)


def test_a_stream_says_what_was_claimed_and_what_came_of_it() -> None:
    found = stream_figures([False, True, True, True], [False, True, False, False], [None, 0.01, 0.02, None])
    assert (found["hits_by_quarter"], found["wrong_by_quarter"]) == ([0, 1, 1, 1], [0, 1, 0, 0])
    assert found["claimed_bound"] == 0.015
    assert found["claimed_bound_by_quarter"] == [None, 0.01, 0.02, None]
    assert "claimed_bound" not in stream_figures([True], [False], [None])


def test_each_kind_of_different_questions_has_a_target_of_its_own() -> None:
    pairs = [LabelledPair("a", "b", False, kind) for kind in ("numbers", "premise") for _ in range(50)]
    pairs += [LabelledPair("a", "b", True, "problem understanding") for _ in range(4)]
    took = [False] * 49 + [True] + [False] * 50 + [True, True, False, False]
    held = {
        row["target"]: row["holds"]
        for row in targets(
            {"mixed": figures(pairs, took, grouped=True)},
            {"exact_p50_ms": 0.4, "semantic_hit_p50_ms": 7.0},
            0.01,
        )
    }
    assert held["mixed: accepted of 'numbers'"] is False
    assert held["mixed: accepted of 'premise'"] is True
    assert held["mixed: accepted of 'problem understanding'"] is True
    assert held["mixed: wrong hits of different questions, upper bound"] is False
    assert (held["http: exact_p50_ms"], held["http: semantic_hit_p50_ms"]) == (True, False)
