"""Vectors from a server: its order, its errors, and its closed connections. The server is scripted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from semantic_cache.embed.errors import BadEmbedder, EmbeddingFailed
from semantic_cache.embed.upstream import UpstreamEmbedder


def vector_of(text: str) -> list[float]:
    return [float(len(text)), 2.0, float(text.count("e")), -1.0]


class Server(ThreadingHTTPServer):
    """Answers `reply(texts)`, which may be bytes, a status, or an object."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.connections = 0
        self.close_after_reply = False
        self.reply: Callable[[list[str]], Any] = lambda texts: {
            "data": [
                {"index": at, "embedding": vector_of(text)} for at, text in reversed([*enumerate(texts)])
            ]
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        reply = self.server.reply(body["input"])
        status = reply if isinstance(reply, int) else 200
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        # Without a word, as servers do that find a connection idle for too long.
        self.close_connection = self.server.close_after_reply

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def embedder(server: Server) -> Iterator[UpstreamEmbedder]:
    with closing(UpstreamEmbedder(server.url, "embed-1", api_key="secret")) as embedder:
        yield embedder


def test_each_text_gets_its_vector_at_unit_length(server: Server, embedder: UpstreamEmbedder) -> None:
    texts = ["where", "is the bridge"]
    encodings = embedder.encode(texts)
    for text, encoding in zip(texts, encodings, strict=True):
        expected = np.array(vector_of(text))
        np.testing.assert_allclose(encoding.vector, expected / np.linalg.norm(expected), rtol=1e-6)
        assert encoding.vector.dtype == np.float32
        assert encoding.tokens.shape == (0, 4)
        assert encoding.spans.shape == (0, 2)
    path, headers, body = server.requests[-1]
    assert path == "/v1/embeddings"
    assert headers["Authorization"] == "Bearer secret"
    assert body == {"model": "embed-1", "input": texts, "encoding_format": "float"}
    assert server.connections == 1
    assert embedder.encode([]) == []


def test_the_id_names_server_model_and_width(server: Server, embedder: UpstreamEmbedder) -> None:
    assert embedder.dim == 4
    assert embedder.id.startswith("upstream:")
    assert embedder.id.endswith(":embed-1:4")
    assert "127.0.0.1" not in embedder.id
    with closing(UpstreamEmbedder(server.url, "embed-2")) as other:
        assert other.id != embedder.id


def test_a_connection_that_the_server_closed_is_opened_again(
    server: Server, embedder: UpstreamEmbedder
) -> None:
    server.close_after_reply = True
    for _ in range(3):
        assert len(embedder.encode(["where"])) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (429, r"answered 429\.$"),
        (b"<html>", "something else"),
        ({"data": []}, "one vector for each"),
        ({"data": [{"index": 1, "embedding": [1.0, 0.0, 0.0, 0.0]}]}, "one vector for each"),
        ({"data": [{"index": 0, "embedding": [1.0, 0.0]}]}, "became 2 wide"),
        ({"data": [{"index": 0, "embedding": [0.0, 0.0, 0.0, 0.0]}]}, "without a direction"),
        ({"data": [{"index": 0, "embedding": [1e39, 0.0, 0.0, 0.0]}]}, "without a direction"),
        ({"data": [{"index": 0, "embedding": []}]}, "without a direction"),
    ],
)
def test_an_answer_that_is_none_fails(
    server: Server, embedder: UpstreamEmbedder, reply: object, message: str
) -> None:
    server.reply = lambda texts: reply
    with pytest.raises(EmbeddingFailed, match=message):
        embedder.encode(["where"])


def test_a_server_that_is_not_there_is_no_embedder(server: Server) -> None:
    server.reply = lambda texts: 404
    with pytest.raises(BadEmbedder, match="404"):
        UpstreamEmbedder(server.url, "embed-1")
    with pytest.raises(BadEmbedder, match="cannot be reached"):
        UpstreamEmbedder("http://127.0.0.1:9/v1", "embed-1")


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host/v1", "http://", "http://host:port/v1", "http://h/v1?k=1"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadEmbedder, match="base_url"):
        UpstreamEmbedder(url, "embed-1")
