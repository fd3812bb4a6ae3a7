"""How modes are written."""

from __future__ import annotations

import pytest

from gateway.compression.mode import AUTO, FIT, LOSSLESS, OFF, BadMode, Mode, read_mode


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("off", OFF),
        ("lossless", LOSSLESS),
        ("auto", AUTO),
        ("fit", FIT),
        ("fit:retrieve", Mode("fit", way="retrieve")),
        ("fit:window", Mode("fit", way="window")),
    ],
)
def test_a_mode_is_read_by_its_name(text: str, mode: Mode) -> None:
    assert read_mode(text) == mode and mode.label == text


@pytest.mark.parametrize("text", ["ratio:4", "ratio:4.0"])
def test_a_ratio_has_one_label_however_it_is_written(text: str) -> None:
    assert read_mode(text) == Mode("ratio", 4.0) and read_mode(text).label == "ratio:4"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "on",
        "AUTO",
        "ratio",
        "ratio:1",
        "ratio:21",
        "ratio:-2",
        "ratio:1e1",
        "ratio:nan",
        "fit:",
        "fit:magic",
    ],
)
def test_anything_else_is_no_mode(text: str) -> None:
    with pytest.raises(BadMode, match="ratio:N"):
        read_mode(text)


def test_only_some_modes_drop_text() -> None:
    drops = [mode.drops for mode in (OFF, FIT, LOSSLESS, AUTO, Mode("ratio", 2.0))]
    assert drops == [False, False, False, True, True]
