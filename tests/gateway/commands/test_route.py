"""`forebay route` as a user types it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import build_app
from gateway.config.schema import StoreUrl
from gateway.state.open import open_outcomes
from router.after.signs import SmallAnswer, signs_of
from router.before.query_signs import query_signs
from router.online.tried import Tried

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


CONFIG = """
upstreams: {{up: {{kind: openai, base_url: "http://127.0.0.1:9/v1"}}}}
models:
  small: {{upstream: up, price: {{input: 1, output: 2}}}}
  middle: {{upstream: up, price: {{input: 2, output: 4}}}}
  large: {{upstream: up, price: {{input: 10, output: 20}}}}
routes:
  auto: {{tiers: [small, middle, large]}}
  one: {{tiers: [large]}}
state: {{store: "sqlite://{folder}/state.db"}}
"""


def sum_of(a: int, b: int, *, right: bool = True) -> str:
    return f"{a} * {b} = {a * b + 7 * (not right)}"


def test_a_route_that_learns_is_explained_from_its_outcomes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.routing.explain.shipped_prior", lambda: None)
    (tmp_path / "forebay.yaml").write_text(CONFIG.format(folder=tmp_path))
    route = ("--route", "auto", "--config", str(tmp_path / "forebay.yaml"))
    status, out = explain("7 boxes of 8?", *route, capsys=capsys)
    assert status == 0 and out.splitlines()[-1].startswith("large is asked: ")

    draw = random.Random(3)
    rows = []
    for number in range(300):
        a, b, right = draw.randint(3, 90), draw.randint(3, 90), draw.random() < 0.6
        answer = SmallAnswer(f"{a} boxes of {b}?", sum_of(a, b, right=right), "stop")
        signs, query = signs_of(answer), query_signs(answer.prompt)
        for tier, ok in (("small", right), ("middle", True)):
            rows.append(Tried(f"{tier}{number}", "ada", tier, 1.0 + number, query, signs, ok))
    open_outcomes(StoreUrl(f"sqlite://{tmp_path}/state.db")).add("auto", rows, [])

    def said(*answers: str) -> str:
        given = [part for answer in answers for part in ("--answer", answer)]
        status, out = explain("7 boxes of 8?", *route, *given, capsys=capsys)
        assert status == 0
        return out.splitlines()[-1]

    assert said().startswith("small is asked: small next")
    assert said(sum_of(7, 8)).startswith("small stands: small: right with probability")
    assert said(sum_of(7, 8, right=False)).startswith("middle is asked: small: right with probability 0")
    assert said(sum_of(7, 8, right=False), sum_of(7, 8)).startswith("middle stands: ")


@pytest.mark.parametrize("route", ["one", "large", "none"])
def test_what_is_no_route_that_learns_is_an_error_in_a_line(
    route: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "forebay.yaml").write_text(CONFIG.format(folder=tmp_path))
    status, out = explain("Why?", "--route", route, "--config", str(tmp_path / "forebay.yaml"), capsys=capsys)

    assert status == 1 and route in out and out.startswith("forebay: ")


def test_a_route_or_a_policy_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("Why?", capsys=capsys) == (2, "forebay: name either a --route or a --policy\n")
