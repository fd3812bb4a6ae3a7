"""Where requests go: scheme, host and port of a base URL, and the path that stands before all others."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """One server. `authority` is what the Host header says; `prefix` begins the target of every request."""

    host: str
    port: int
    tls: bool
    authority: str
    prefix: str

    @classmethod
    def of(cls, base_url: str) -> Origin:
        """Return the origin of an absolute URL. Raises ValueError.

        Only `http` and `https`, and no credentials, query or fragment, which could not be sent on.
        """
        url = urlsplit(base_url)
        port = _PORTS.get(url.scheme)
        if port is None or not url.hostname:
            raise ValueError("a base URL begins with http:// or https:// and names a host")
        if url.username is not None or url.query or url.fragment:
            raise ValueError("a base URL holds no credentials, query or fragment")
        if not url.path.isascii() or not url.path.isprintable() or " " in url.path:
            raise ValueError("the path of a base URL is plain ASCII without spaces")
        host = url.hostname if url.hostname.isascii() else url.hostname.encode("idna").decode()
        shown = f"[{host}]" if ":" in host else host
        authority = shown if url.port in (None, port) else f"{shown}:{url.port}"
        return cls(host, url.port or port, url.scheme == "https", authority, url.path.rstrip("/"))
