"""Structural cuts in the output of tools: what no reader needs goes, whatever the question.

Cuts are made when an output arrives, never later because it has grown old: that would rewrite a prefix which
the upstream may hold in its cache.
"""

from __future__ import annotations

import re
from bisect import bisect_left

import msgspec

LINES = 200
"""Lines up to which an output is left whole."""
HEAD, TAIL = 30, 60
AROUND = 2
_MOST_POINTS = 40
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")
# Begins where a run begins: tried at each of its characters, a text of long runs would take minutes.
_BLOB = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{600,}+={0,2}")
_TELLING = re.compile(
    r"\b(errors?|fail(?:ed|ure|ures)?|fatal|exception|traceback|panic|warn(?:ing)?|denied|refused|"
    r"timed? ?out|critical|abort(?:ed)?|assert\w*|segfault|killed|not found|undefined)\b",
    re.IGNORECASE,
)
_CODE_LINE = re.compile(
    r"[{};]\s*$|^\s*(?:def|class|import|from|return|if|for|while|func|fn|let|const|var|public|#include)\b"
)
_CODE_SHARE = 0.25
_SAMPLE = 200


def without_noise(text: str) -> str:
    """Return a terminal's output without colours, overwritten lines of progress and encoded blobs."""
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if "\r" in text:
        text = "\n".join([_last_written(line) for line in text.split("\n")])
    return _BLOB.sub(lambda found: f"[{len(found[0])} characters of encoded data left out]", text)


def _last_written(line: str) -> str:
    """Return what a terminal shows of a line that was written several times; its line end may be CR LF."""
    written = line.removesuffix("\r")
    return written.rpartition("\r")[2] + line[len(written) :]


def cut_lines(text: str, question: str) -> str:
    """Return a long output as head, tail and the lines that tell of errors or name an id of the question.

    Ranges of lines that are left out are named. Code is left whole: whoever reads a file may go on to change
    it. So is JSON: without some of its lines it would be none.
    """
    lines = text.split("\n")
    if len(lines) <= LINES or looks_like_code(lines) or _is_json(text):
        return text
    ids = {word for word in re.findall(r"[\w./:-]{5,}", question) if any(map(str.isdigit, word))}
    points = [
        place
        for place, line in enumerate(lines)
        if _TELLING.search(line) or any(name in line for name in ids)
    ]
    if len(points) > _MOST_POINTS:
        points = points[: _MOST_POINTS // 2] + points[-_MOST_POINTS // 2 :]
    out: list[str] = []
    gone = 0
    for place, line in enumerate([*lines, None]):
        near = bisect_left(points, place - AROUND)
        keep = (
            place < HEAD
            or place >= len(lines) - TAIL
            or (near < len(points) and points[near] <= place + AROUND)
        )
        if line is not None and not keep:
            gone += 1
            continue
        if gone:
            out.append(f"[lines {place - gone + 1}-{place} left out]")
            gone = 0
        if line is not None:
            out.append(line)
    return "\n".join(out)


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def looks_like_code(lines: list[str]) -> bool:
    """Return whether lines are source code rather than a log, a listing or prose."""
    sample = [line for line in lines[:_SAMPLE] if line.strip()]
    return sum(_CODE_LINE.search(line) is not None for line in sample) > _CODE_SHARE * len(sample)
