from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.http1.decode import PIECE_BYTES, Decoder
from gateway.upstreams.http1.errors import ProtocolError

TEXT = b'{"text":"' + b"water " * 2000 + b'"}'


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


ENCODED = [
    ("gzip", gzip.compress(TEXT)),
    ("x-gzip", gzip.compress(TEXT)),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", raw_deflate(TEXT)),
]


def decode(encoding: str, *pieces: bytes) -> bytes:
    decoder = Decoder(encoding)
    out = b""
    for data in pieces:
        decoder.feed(data)
        while piece := decoder.piece():
            assert len(piece) <= PIECE_BYTES
            out += piece
    decoder.end()
    return out


@given(st.sampled_from(ENCODED), st.integers(1, 50))
def test_the_same_however_it_is_split(encoded: tuple[str, bytes], size: int) -> None:
    encoding, data = encoded
    assert decode(encoding, *(data[at : at + size] for at in range(0, len(data), size))) == TEXT


def test_a_bomb_comes_in_bounded_pieces() -> None:
    decoder = Decoder("gzip")
    decoder.feed(gzip.compress(bytes(1 << 26)))
    assert [len(decoder.piece()) for _ in range(8)] == [PIECE_BYTES] * 8


def test_what_is_flushed_is_out_at_once() -> None:
    stream = zlib.compressobj(wbits=31)
    decoder = Decoder("gzip")
    for event in (b"data: 1\n\n", b"data: 2\n\n"):
        decoder.feed(stream.compress(event) + stream.flush(zlib.Z_SYNC_FLUSH))
        assert decoder.piece() == event and decoder.piece() == b""


def test_no_content_at_all() -> None:
    assert decode("gzip") == b""


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", ""])
def test_an_encoding_that_is_not_known(encoding: str) -> None:
    with pytest.raises(ProtocolError, match="not asked for"):
        Decoder(encoding)


@pytest.mark.parametrize(("encoding", "data"), ENCODED[:3])
def test_what_is_broken(encoding: str, data: bytes) -> None:
    for broken in (data[:-1], data + b"more", b"\xff" + data):
        with pytest.raises(ProtocolError):
            decode(encoding, broken)
