from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.http1.errors import ProtocolError
from gateway.upstreams.http1.parser import MAX_HEAD_BYTES, MAX_HEADERS, ResponseParser
from tests.gateway.support.raw_server import chunked, response

OK = b"HTTP/1.1 200 OK\r\n"


def parse(*pieces: bytes, end: bool = False) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser()
    content = b""
    for piece in pieces:
        parser.feed(piece)
        content += parser.take()
    if end:
        parser.end()
    return parser, content


RESPONSES = [
    response(b"hello"),
    response(b""),
    response(b"hello", "200 OK", "connection: close"),
    response(b"hello", "404 Not Found", "x: 1", "X: 2", "empty:"),
    OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(b"one", b"two" * 50),
    OK + b"Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\none\r\n4 \r\ntwo!\r\n0\r\ntrailer: x\r\nz: y\r\n\r\n",
    OK + b"\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + response(b"hello"),
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n",
    response(b"hello") + response(b"another that nobody asked for"),
    response(b"hello") + b"rubbish",
    response(b"hello", "200 OK", "connection: close") + b"rubbish",
]


def seen(parser: ResponseParser, content: bytes) -> tuple[object, ...]:
    return parser.status, parser.headers, content, parser.complete, parser.keep_alive


@given(st.sampled_from(RESPONSES), st.lists(st.integers(1, 400), max_size=8))
def test_the_same_however_the_bytes_are_split(sent: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted({min(cut, len(sent)) for cut in cuts}), len(sent)]
    pieces = [sent[a:b] for a, b in pairwise(edges)]
    assert seen(*parse(*pieces, end=True)) == seen(*parse(sent, end=True))


@pytest.mark.parametrize("sent", RESPONSES)
def test_the_same_byte_by_byte(sent: bytes) -> None:
    assert seen(*parse(*(bytes([byte]) for byte in sent), end=True)) == seen(*parse(sent, end=True))


@pytest.mark.parametrize(
    ("number", "content", "keep_alive"),
    [
        (0, b"hello", True),
        (2, b"hello", False),
        (4, b"one" + b"two" * 50, True),
        (7, b"ab", False),
        (8, b"ab", True),
        (9, b"hello", True),
        (10, b"", True),
        (12, b"hello", False),
        (13, b"hello", False),
        (14, b"hello", False),
    ],
)
def test_whether_the_connection_carries_another(number: int, content: bytes, keep_alive: bool) -> None:
    parser, got = parse(RESPONSES[number])
    assert (parser.complete, got, parser.keep_alive) == (True, content, keep_alive)


def test_a_response_without_length_lasts_as_long_as_its_connection() -> None:
    parser, content = parse(OK + b"\r\nuntil the end")
    assert not parser.complete and content == b"until the end"
    parser.end()
    assert parser.complete and not parser.keep_alive


@pytest.mark.parametrize(
    "sent", [response(b"hello")[:-1], OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"]
)
def test_one_with_a_length_does_not_end_early(sent: bytes) -> None:
    parser, _ = parse(sent, end=True)
    assert parser.head_complete and not parser.complete


def test_interim_responses_are_skipped_with_their_headers() -> None:
    parser, content = parse(RESPONSES[9])
    assert (parser.status, parser.headers, content) == (200, {"content-length": "5"}, b"hello")


def test_repeated_headers_are_joined_and_trailers_are_none() -> None:
    assert parse(RESPONSES[3])[0].headers == {"content-length": "5", "x": "1, 2", "empty": ""}
    assert parse(RESPONSES[5])[0].headers == {"transfer-encoding": "Chunked"}


def test_the_next_response_begins_afresh() -> None:
    parser, _ = parse(RESPONSES[3])
    parser.expect()
    assert not (parser.begun or parser.complete or parser.headers)
    parser.feed(response(b"next"))
    assert (parser.status, parser.take()) == (200, b"next")


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 600 High\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
        OK + b"x: 1\nset-cookie: 2\r\n\r\n",
        OK + b"x: 1\r\n folded\r\n\r\n",
        OK + b"x: a\0b\r\n\r\n",
        OK + b"x : 1\r\n\r\n",
    ],
)
def test_what_is_no_response_is_refused(sent: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(sent)


LONG = b"x" * (2 * MAX_HEAD_BYTES)


@pytest.mark.parametrize(
    "sent",
    [
        OK + b"x: " + LONG,
        OK + b"".join(b"x-%d: 1\r\n" % number for number in range(MAX_HEADERS + 2)),
        b"HTTP/1.1 200 " + LONG,
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD_BYTES // 25 + 1),
        OK + b"transfer-encoding: chunked\r\n\r\n1;" + LONG,
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\ntrailer: " + LONG,
    ],
)
@pytest.mark.parametrize("size", [1000, 50_000])
def test_all_but_content_is_bounded(sent: bytes, size: int) -> None:
    with pytest.raises(ProtocolError, match="more than"):
        parse(*(sent[at : at + size] for at in range(0, len(sent), size)))


def test_a_head_is_bounded_even_if_its_content_comes_with_it() -> None:
    with pytest.raises(ProtocolError, match="more than"):
        parse(response(b"hello", "200 OK", f"x: {LONG.decode()}"))


def test_content_is_not() -> None:
    sent = response(LONG)
    assert parse(sent[:1000], sent[1000:])[1] == LONG
    many = OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(*[b"a"] * MAX_HEAD_BYTES)
    assert len(parse(*(many[at : at + 1000] for at in range(0, len(many), 1000)))[1]) == MAX_HEAD_BYTES
