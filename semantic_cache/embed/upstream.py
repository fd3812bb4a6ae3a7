"""Vectors from a server's OpenAI-compatible `/v1/embeddings`.

It gives no token states, so a verifier abstains. Whether a vector depends on its neighbours is the server's
concern.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec
import numpy as np
from numpy.typing import NDArray

from semantic_cache.embed.base import Encoding
from semantic_cache.embed.errors import BadEmbedder, EmbeddingFailed

_DIGEST_CHARS = 12


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


class _Reply(msgspec.Struct):
    data: list[_Item]


class UpstreamEmbedder:
    """Embeds through one kept connection; for one thread."""

    def __init__(self, base_url: str, model: str, api_key: str | None = None, timeout_s: float = 10) -> None:
        """Ask once, to learn the width of the vectors. `base_url` as the OpenAI client takes it, with `/v1`.

        Raises BadEmbedder if the URL is none, or the server does not answer as it should.
        """
        url = urlsplit(base_url)
        try:
            host, port = url.hostname, url.port
        except ValueError as error:
            raise BadEmbedder(f"The embedder's base_url has no proper port: {error}.") from error
        if url.scheme not in ("http", "https") or not host or url.query or url.fragment:
            raise BadEmbedder("The embedder's base_url must be http://HOST/PATH or https://HOST/PATH.")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=timeout_s)
        self._path = url.path.rstrip("/") + "/embeddings"
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._model = model
        try:
            self.dim = self._embed(["dimensions"]).shape[1]
        except EmbeddingFailed as error:
            self.close()
            raise BadEmbedder(str(error)) from error
        place = hashlib.sha256(f"{host}:{port}{self._path}".encode()).hexdigest()[:_DIGEST_CHARS]
        self.id = f"upstream:{place}:{model}:{self.dim}"

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Return one encoding per text, without token states. Raises EmbeddingFailed."""
        if not texts:
            return []
        vectors = self._embed(texts)
        if vectors.shape[1] != self.dim:
            raise EmbeddingFailed(f"The embeddings became {vectors.shape[1]} wide; they were {self.dim}.")
        tokens, spans = np.empty((0, self.dim), np.float32), np.empty((0, 2), np.int32)
        return [Encoding(vector, tokens, spans) for vector in vectors]

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._connection.close()

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        body = msgspec.json.encode(
            {"model": self._model, "input": list(texts), "encoding_format": "float"},
        )
        status, answer = self._post(body)
        if status != 200:
            # Not what it says: it may quote the text, and this goes into the log.
            raise EmbeddingFailed(f"The embeddings' server answered {status}.")
        try:
            items = sorted(msgspec.json.decode(answer, type=_Reply).data, key=lambda item: item.index)
            with np.errstate(over="ignore"):
                vectors = np.array([item.embedding for item in items], np.float32)
        except (msgspec.MsgspecError, ValueError) as error:
            raise EmbeddingFailed(f"The embeddings' server answered something else: {error}") from error
        if [item.index for item in items] != list(range(len(texts))) or vectors.ndim != 2:
            raise EmbeddingFailed(
                f"The embeddings' server did not answer one vector for each of {len(texts)}."
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not vectors.shape[1] or not np.isfinite(lengths).all() or not lengths.all():
            raise EmbeddingFailed("The embeddings' server answered a vector without a direction.")
        unit: NDArray[np.float32] = vectors / lengths
        return unit

    def _post(self, body: bytes) -> tuple[int, bytes]:
        kept = self._connection.sock is not None
        try:
            return self._exchange(body)
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            # A kept connection may have been closed while idle: that says nothing of the server.
            self._connection.close()
            if not kept:
                raise EmbeddingFailed(f"The embeddings' server cannot be reached: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise EmbeddingFailed(f"The embeddings' server cannot be reached: {error}") from error
        return self._post(body)

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()
