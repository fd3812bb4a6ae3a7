from __future__ import annotations

import pytest

from gateway.upstreams.http1.request import request_head


def test_nothing_is_sent_that_was_not_given() -> None:
    head = request_head("POST", "/v1/x", "host:8000", {"accept": "a/b", "x": ""}, 12)
    assert (
        head == b"POST /v1/x HTTP/1.1\r\nhost: host:8000\r\naccept: a/b\r\nx: \r\ncontent-length: 12\r\n\r\n"
    )
    assert request_head("GET", "/", "h", {}, None) == b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\0", "\r\n\r\nGET / HTTP/1.1"])
def test_no_part_can_end_a_line(end: str) -> None:
    for target, headers in (
        (f"/{end}x", {}),
        ("/", {"name": f"a{end}b"}),
        ("/", {"name": end}),
        ("/", {f"na{end}me": "value"}),
    ):
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            request_head("POST", target, "h", headers, 0)


def test_bytes_beyond_ascii_leave_as_they_came() -> None:
    raw = b"Gr\xc3\xbc\xc3\x9fe \xff"
    head = request_head("GET", "/", "h", {"name": raw.decode("utf-8", "surrogateescape")}, None)
    assert b"name: " + raw + b"\r\n" in head
