"""What can go wrong between a request and its response.

HttpError
├── ConnectFailed       no connection: the name, the network, a refusal, the certificate
│   └── ConnectTimeout  it was not made in time
├── TimedOut            a deadline passed while the server was silent
├── Closed              the connection ended before the response did
│   └── Unsent          … and the server cannot have read the request
└── ProtocolError       the server's bytes are not a response, or go beyond a bound
"""

from __future__ import annotations


class HttpError(Exception):
    """Root of the client's exceptions."""


class ConnectFailed(HttpError):
    """No connection could be made. The message is the operating system's, and may name addresses."""


class ConnectTimeout(ConnectFailed):
    """The connection was not made in time."""


class TimedOut(HttpError):
    """A deadline passed while the server was silent."""


class Closed(HttpError):
    """The connection ended before the response did."""


class Unsent(Closed):
    """The connection was gone when the request was written, so the server cannot have acted on it."""


class ProtocolError(HttpError):
    """What the server sent is not an HTTP/1.1 response, or is larger than one may be."""
