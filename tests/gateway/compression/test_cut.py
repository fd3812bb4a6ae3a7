"""Long outputs of tools are cut by lines, and say which."""

from __future__ import annotations

import json

from gateway.compression.cut import HEAD, TAIL, cut_lines, without_noise

LOG = [f"step {n} done" for n in range(1000)]


def test_a_long_output_keeps_head_tail_and_what_tells_of_errors() -> None:
    lines = [*LOG[:500], "ERROR: disk full", *LOG[501:]]
    cut = cut_lines("\n".join(lines), "").split("\n")
    assert cut[:HEAD] == lines[:HEAD] and cut[-TAIL:] == lines[-TAIL:]
    assert "ERROR: disk full" in cut and f"[lines {HEAD + 1}-498 left out]" in cut
    assert len(cut) < 120


def test_every_line_is_there_or_counted() -> None:
    cut = cut_lines("\n".join(LOG), "What happened in step 700?").split("\n")
    gone = sum(
        int(last) - int(first) + 1
        for first, last in (line.split()[1].split("-") for line in cut if line.startswith("[lines "))
    )
    assert gone + sum(line in LOG for line in cut) == len(LOG)


def test_lines_with_an_id_of_the_question_stay() -> None:
    lines = [*LOG[:400], "order A-1731 shipped", *LOG[400:]]
    assert "order A-1731 shipped" in cut_lines("\n".join(lines), "Where is A-1731?")


def test_a_short_output_and_source_code_stay_whole() -> None:
    short = "\n".join(LOG[:150])
    code = "\n".join(f"    value_{n} = compute({n});" for n in range(900))
    assert cut_lines(short, "") == short and cut_lines(code, "") == code


def test_a_terminals_noise_goes() -> None:
    noisy = "\x1b[31mred\x1b[0m\n 10%\r 50%\r100%\nline\r\n" + "QUJD" * 200 + "\nend"
    assert without_noise(noisy) == "red\n100%\nline\r\n[800 characters of encoded data left out]\nend"


def test_json_is_not_cut_in_lines() -> None:
    records = json.dumps([{"id": n, "state": "error" if n == 200 else "fine"} for n in range(300)], indent=1)
    assert cut_lines(records, "") == records
    assert cut_lines(f"{records[:-2]}", "") != records[:-2]
