from __future__ import annotations

import pytest

from tests.gateway.support.running import CHAT, RunningGateway


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat", "/v2/chat/completions", "/v1/audio/speech"])
async def test_an_unknown_url_is_404_in_openais_shape(gateway: RunningGateway, path: str) -> None:
    async with gateway.post(path) as response:
        assert response.status == 404
        error = (await response.json())["error"]
    assert error["type"] == "invalid_request_error" and error["message"] == f"Invalid URL (POST {path})"


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("GET", CHAT, "POST"), ("DELETE", "/v1/models", "GET")]
)
async def test_a_wrong_method_is_405_and_says_the_right_one(
    gateway: RunningGateway, method: str, path: str, allowed: str
) -> None:
    async with gateway.http.request(method, gateway.url + path) as response:
        assert response.status == 405
        assert allowed in response.headers["allow"]
        assert (await response.json())["error"]["code"] == "method_not_supported"


async def test_an_unknown_request_is_404(gateway: RunningGateway) -> None:
    async with gateway.get("/forebay/requests/req_nope") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "request_not_found"


async def test_a_bug_is_500_and_tells_nothing(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(*_: object) -> object:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("gateway.endpoints.models.Models._all", boom)
    async with gateway.get("/v1/models") as response:
        assert response.status == 500
        text = await response.text()
    assert "secret" not in text and '"server_error"' in text


async def test_a_bug_in_a_hop_is_500_and_tells_nothing(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(*_: object) -> object:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("gateway.hops.route.RouteByName.find", boom)
    async with gateway.post() as response:
        assert response.status == 500
        text = await response.text()
    assert "secret" not in text and '"server_error"' in text
