"""The head of a request as bytes."""

from __future__ import annotations

from collections.abc import Mapping


def request_head(
    method: str, target: str, authority: str, headers: Mapping[str, str], length: int | None
) -> bytes:
    """Return request line and headers, with nothing in them that was not given.

    `length` is that of the body in bytes, None if the request has none. Raises ValueError if any part
    would end a line, and so begin a header or a request of its own.
    """
    lines = [f"{method} {target} HTTP/1.1", f"host: {authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"content-length: {length}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    # All line ends are ours if there are just as many of them. Cheaper than to search every value.
    ends = len(lines) + 1
    if head.count("\r") != ends or head.count("\n") != ends or "\0" in head:
        raise ValueError("a header or target that holds CR, LF or NUL is not sent")
    # Bytes beyond ASCII leave as they came: aiohttp's server decodes them in this way.
    return head.encode("utf-8", "surrogateescape")
