from __future__ import annotations

import pytest

from gateway.upstreams.http1.origin import Origin


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://a.example/v1", Origin("a.example", 80, False, "a.example", "/v1")),
        ("https://a.example", Origin("a.example", 443, True, "a.example", "")),
        ("https://a.example:443/", Origin("a.example", 443, True, "a.example", "")),
        ("http://a.example:8000/x/v1/", Origin("a.example", 8000, False, "a.example:8000", "/x/v1")),
        ("http://[::1]:8000/v1", Origin("::1", 8000, False, "[::1]:8000", "/v1")),
        ("http://bücher.example/", Origin("xn--bcher-kva.example", 80, False, "xn--bcher-kva.example", "")),
    ],
)
def test_what_a_base_url_says(url: str, origin: Origin) -> None:
    assert Origin.of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "//a/v1",
        "http:///v1",
        "http://user:word@a/v1",
        "http://a/v1?x=1",
        "http://a/v1#x",
        "http://a/v 1",
        "http://a/vé",
        "http://a:99999/",
    ],
)
def test_what_could_not_be_sent_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Origin.of(url)
