"""Undoes a content-encoding that nobody asked for.

We ask for `identity`. A server that compresses all the same, or the proxy before it, is understood if it uses
what every HTTP library knows; anything else is an error that says so.
"""

from __future__ import annotations

import zlib

from gateway.upstreams.http1.errors import ProtocolError

PIECE_BYTES = 256 * 1024
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = 31, 15, -15


class Decoder:
    """Content of one response, in pieces of a bounded size: a small bomb is no large memory."""

    __slots__ = ("_encoding", "_rest", "_stream")

    def __init__(self, encoding: str) -> None:
        """`encoding` is in lower case. Raises ProtocolError for one that is not known."""
        self._encoding = encoding
        if self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise ProtocolError(f"the content-encoding {self._encoding!r}, which was not asked for")
        self._stream: zlib._Decompress | None = None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take encoded content; what came before must have been taken out."""
        self._rest = data

    def piece(self) -> bytes:
        """Return the next piece of what was fed, or b"" if there is none. Raises ProtocolError."""
        while self._rest:
            stream = self._stream = self._stream or zlib.decompressobj(self._bits(self._rest[0]))
            if stream.eof:
                raise ProtocolError("bytes after the end of the encoded content")
            try:
                piece = stream.decompress(self._rest, PIECE_BYTES)
            except zlib.error as error:
                raise ProtocolError(f"content that is not {self._encoding}: {error}") from None
            self._rest = stream.unconsumed_tail or stream.unused_data
            if piece:
                return piece
        return b""

    def end(self) -> None:
        """Take note that this was all. Raises ProtocolError if the encoded content is cut short."""
        if self._stream is not None and not self._stream.eof:
            raise ProtocolError(f"{self._encoding} content that is cut short")

    def _bits(self, first: int) -> int:
        if self._encoding != "deflate":
            return _GZIP_BITS
        # RFC 9110, 8.4.1.2: some send it without its zlib header, whose low four bits are always eight.
        return _ZLIB_BITS if first & 0x0F == 8 else _RAW_BITS
