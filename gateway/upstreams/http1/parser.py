"""Cuts the bytes of a connection into responses; does no input or output itself.

Parsing is llhttp's, in its strict mode. What it leaves open is decided here: which bytes are bounded, when a
response ends with its connection, and whether the connection can carry another one.
"""

from __future__ import annotations

import httptools

from gateway.upstreams.http1.errors import ProtocolError

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 256
_NO_CONTENT = (204, 304)


class ResponseParser:
    """One response at a time; `expect` begins the next."""

    __slots__ = (
        "_content",
        "_count",
        "_head_bytes",
        "_overhead",
        "_parser",
        "begun",
        "buffered",
        "complete",
        "head_complete",
        "headers",
        "keep_alive",
        "status",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # Padded chunk sizes are an old habit of some servers and end no other message early.
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        self._content: list[bytes] = []
        self.expect()

    def expect(self) -> None:
        """Get ready for the response to a request."""
        self.status = 0
        self.headers: dict[str, str] = {}
        """Names in lower case; the values of repeated ones joined with a comma, as RFC 9110, 5.3 has it."""
        self.begun = False
        self.head_complete = False
        self.complete = False
        self.keep_alive = False
        """Of a complete response: whether the server will take another request."""
        self.buffered = 0
        """Bytes of content that wait to be taken."""
        self._content.clear()
        self._count = 0
        self._head_bytes = 0
        # Bytes since the last content: heads, interim responses, the framing of chunks, trailers.
        self._overhead = 0

    def feed(self, data: bytes) -> None:
        """Take what the server sent. Raises ProtocolError."""
        self.begun = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.complete:
                # Bytes beyond the end: this response is whole, but the next could be anything.
                self.keep_alive = False
                return
            cause = error.__context__
            raise ProtocolError(str(cause if isinstance(cause, ProtocolError) else error)) from None
        if self._overhead > MAX_HEAD_BYTES and not self.complete:
            raise ProtocolError(f"more than {MAX_HEAD_BYTES} bytes without content")

    def end(self) -> None:
        """Take note that the server will send nothing more: what has no length is complete with that."""
        if self.head_complete and not _has_length(self.status, self.headers):
            self.complete = True

    def take(self) -> bytes:
        """Return the content that has come since the last call."""
        content = self._content
        taken = content[0] if len(content) == 1 else b"".join(content)
        content.clear()
        self.buffered = 0
        return taken

    # What llhttp calls. An exception ends its `feed_data` and is the context of the error raised there.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ProtocolError("bytes after the end of the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:
            return  # A trailer.
        self._count += 1
        self._head_bytes += len(name) + len(value)
        if self._count > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            raise ProtocolError(f"more than {MAX_HEADERS} headers or {MAX_HEAD_BYTES} bytes of them")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101 or not 100 <= status <= 599:
            raise ProtocolError(f"a response with status {status}, which was not asked for")
        if status < 200:
            # An interim response; its headers are not those of the answer.
            self.headers = {}
            return
        coding = self.headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise ProtocolError("a transfer-encoding other than 'chunked'")
        self.status = status
        self.head_complete = True

    def on_body(self, data: bytes) -> None:
        self._content.append(data)
        self.buffered += len(data)
        self._overhead = 0

    def on_message_complete(self) -> None:
        if self.head_complete:
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()


def _has_length(status: int, headers: dict[str, str]) -> bool:
    return status in _NO_CONTENT or "content-length" in headers or "transfer-encoding" in headers
