"""`forebay route` as a user types it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import build_app

FOREBAY = [sys.executable, "-P", "-c", "from gateway.cli import main; main()", "route"]


def explain(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = 0
    try:
        build_app()(["route", "explain", *arguments])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    captured = capsys.readouterr()
    return status, captured.out + captured.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log in which the small model's sums tell whether it is right, and the policy that was learned from
    it."""
    folder = tmp_path_factory.mktemp("route")
    draw = random.Random(3)
    with (folder / "log.jsonl").open("w") as log:
        for _ in range(300):
            a, b, right = draw.randint(3, 90), draw.randint(3, 90), draw.random() < 0.6
            row = {
                "prompt": f"{a} boxes of {b}?",
                "weak_correct": int(right),
                "strong_correct": 1,
                "weak_answer": f"{a} * {b} = {a * b if right else a * b + 7}",
            }
            log.write(json.dumps(row) + "\n")
    done = subprocess.run(
        [*FOREBAY, "train", "log.jsonl", "--out", "policy.json", "--quality", "1"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout)
    return folder


def test_training_says_what_beats_a_coin(folder: Path) -> None:
    said = (folder / "said").read_text()

    assert "the query alone does not beat a coin" in said
    assert "the small model's answer helps" in said
    assert "decides by answer; from 300 outcomes" in said


def test_a_decision_is_explained_in_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = ("--policy", str(folder / "policy.json"))

    assert explain("7 boxes of 8?", *policy, capsys=capsys) == (0, "small: its answer decides\n")
    status, out = explain("7 boxes of 8?", *policy, "--answer", "7 * 8 = 56", capsys=capsys)
    assert status == 0 and out.startswith("small: right with probability") and "without logprobs" in out
    assert explain("7 boxes of 8?", *policy, "--answer", "7 * 8 = 65", capsys=capsys)[1].startswith("large: ")


def test_an_answer_that_was_cut_goes_to_the_large_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = explain(
        *("7 boxes of 8?", "--policy", str(folder / "policy.json")),
        *("--answer", "7 * 8", "--finish-reason", "length"),
        capsys=capsys,
    )[1]

    assert out == "large: the answer is of no use: cut\n"


def test_a_missing_policy_is_an_error_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = explain("Why?", "--policy", str(tmp_path / "none.json"), capsys=capsys)

    assert status == 1 and out.startswith("forebay: ") and "No such file" in out


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ('{"weak_correct": 1, "strong_correct": 1}', "log.jsonl:1"),
        ("", "0 outcomes are too few"),
        (None, "No such file"),
    ],
)
def test_a_log_that_teaches_nothing_is_an_error_in_a_line(log: str | None, said: str, tmp_path: Path) -> None:
    if log is not None:
        (tmp_path / "log.jsonl").write_text(log)
    done = subprocess.run(
        [*FOREBAY, "train", "log.jsonl", "--out", "policy.json"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
