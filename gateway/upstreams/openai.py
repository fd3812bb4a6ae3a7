"""Any server that speaks OpenAI's protocol: OpenAI itself, vLLM, SGLang, TGI, Ollama and others."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.answer import Answer
from gateway.config.schema import OpenAIUpstream
from gateway.errors import UpstreamGarbage
from gateway.upstreams.base import ModelCard, State, UpstreamRequest
from gateway.upstreams.http import HttpCaller
from telemetry.names import PROVIDER_OPENAI


class _ModelList(msgspec.Struct):
    data: list[ModelCard]


_DECODE_LIST = msgspec.json.Decoder(_ModelList).decode


class OpenAI:
    """One such server, with the gateway's own key for it."""

    provider = PROVIDER_OPENAI

    def __init__(self, name: str, config: OpenAIUpstream) -> None:
        self.name = name
        self.reports_usage = config.stream_usage
        self._base_url = config.base_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {config.api_key.reveal()}"} if config.api_key else {}
        self._http = HttpCaller(name, config.timeouts, config.max_connections)

    @property
    def state(self) -> State:
        return State.READY

    async def start(self) -> None:
        await self._http.start()

    async def send(self, request: UpstreamRequest) -> Answer:
        return await self._http.post(self._base_url, request, self._headers)

    async def models(self) -> Sequence[ModelCard]:
        body = await self._http.get(self._base_url, "/models", self._headers)
        try:
            return _DECODE_LIST(body).data
        except (msgspec.DecodeError, RecursionError):
            raise UpstreamGarbage(
                f"The upstream '{self.name}' sent a list of models in no known shape."
            ) from None

    async def close(self) -> None:
        await self._http.close()
