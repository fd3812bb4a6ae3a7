from __future__ import annotations

import pytest

from gateway.compression.mode import Mode
from gateway.errors import InvalidRequest
from gateway.wire.headers import (
    compress_mode,
    one_line,
    printable,
    refuse_unknown,
    session_name,
    stream_mode,
    to_client,
    to_upstream,
    wants_report,
)


def test_only_listed_headers_pass() -> None:
    client = {"authorization": "Bearer x", "cookie": "c", "openai-beta": "b", "x-forwarded-for": "1.2.3.4"}
    assert to_upstream(client) == {"openai-beta": "b"}
    answer = {"set-cookie": "c", "retry-after": "3", "openai-organization": "acme", "server": "nginx"}
    assert to_client(answer) == {"retry-after": "3"}


def test_a_known_header_passes_however_it_is_written() -> None:
    refuse_unknown({"X-Forebay-Session": "s-1", "x-forebay-stream": "hold", "accept": "*/*"})


def test_a_stream_goes_as_it_is_said() -> None:
    assert stream_mode({}) is None
    assert [stream_mode({"x-forebay-stream": mode}) for mode in ("route-only", "hold", "speculative")] == [
        "route-only",
        "hold",
        "speculative",
    ]
    with pytest.raises(InvalidRequest, match="one of route-only, hold, speculative"):
        stream_mode({"x-forebay-stream": "HOLD"})


def test_a_session_has_a_name() -> None:
    assert session_name({}) is None
    assert session_name({"x-forebay-session": "chat/42:a"}) == "chat/42:a"
    for bad in ("", "two words", "\u00fc", "x" * 129):
        with pytest.raises(InvalidRequest, match="1 to 128"):
            session_name({"x-forebay-session": bad})


def test_a_reason_is_one_line_of_ascii() -> None:
    assert one_line("65% sure, f\u00fcr\r\nx: y") == "65% sure, f?r??x: y"
    assert len(one_line("x" * 1000)) == 240


def test_a_misspelt_header_is_not_ignored() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean 'x-forebay-report'"):
        refuse_unknown({"x-forebay-reprot": "1"})


def test_what_goes_to_the_engine_can_not_come_from_a_client() -> None:
    with pytest.raises(InvalidRequest):
        refuse_unknown({"x-forebay-salt": "other tenant"})


@pytest.mark.parametrize(("value", "wanted"), [(None, False), ("0", False), ("1", True)])
def test_the_report_is_asked_for_with_1(value: str | None, wanted: bool) -> None:
    assert wants_report({"x-forebay-report": value} if value else {}) is wanted


def test_the_report_is_not_asked_for_with_anything_else() -> None:
    with pytest.raises(InvalidRequest):
        wants_report({"x-forebay-report": "yes"})


def test_a_model_name_is_made_fit_for_a_header() -> None:
    assert printable("org/model-1:free") == "org/model-1:free"
    assert printable("a\r\nset-cookie: x") == "a%0D%0Aset-cookie: x"
    assert printable("Grüße").isascii()


def test_how_much_of_a_prompt_may_go_is_said_by_a_mode() -> None:
    assert compress_mode({}) is None
    assert compress_mode({"x-forebay-compress": "ratio:4"}) == Mode("ratio", 4.0)
    with pytest.raises(InvalidRequest, match="off, lossless, auto, ratio:N"):
        compress_mode({"x-forebay-compress": "some"})
    assert compress_mode({"x-forebay-compress": "fit:window"}) == Mode("fit", way="window")
