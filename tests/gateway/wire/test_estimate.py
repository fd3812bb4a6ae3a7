from __future__ import annotations

import base64

import orjson
import pytest

from gateway.wire.estimate import choices, prompt_tokens, stated_completion
from gateway.wire.request import Endpoint, read_request


def completion(endpoint: Endpoint = Endpoint.CHAT, **fields: object) -> int | None:
    body = orjson.dumps({"model": "m", **fields})
    return stated_completion(read_request(body, endpoint), body, endpoint)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": "many"}, None),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 9),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": 7, "n": 2, "best_of": 4}, 28),
        ({"max_tokens": 7, "n": 0}, 7),
        ({"max_tokens": -5}, 0),
        ({"max_tokens": 10**18, "n": 10**18}, 10**9),
    ],
)
def test_what_a_request_says_of_its_answer(fields: dict[str, object], expected: int | None) -> None:
    assert completion(**fields) == expected


def test_a_number_beyond_all_reason_is_bounded() -> None:
    body = b'{"model":"m","max_tokens":1' + b"0" * 30 + b"}"
    assert stated_completion(read_request(body, Endpoint.CHAT), body, Endpoint.CHAT) == 10**9


def test_an_embedding_generates_nothing() -> None:
    assert completion(Endpoint.EMBEDDINGS, max_tokens=7) == 0


def test_choices_are_bounded() -> None:
    body = orjson.dumps({"model": "m", "n": 10**9})
    assert choices(read_request(body, Endpoint.CHAT), body) == 1000


@pytest.mark.parametrize("text", ["The quick brown fox. " * 20, "敏捷的棕色狐狸。" * 20, ""])
def test_three_bytes_count_as_a_token_of_the_prompt(text: str) -> None:
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})
    assert len(body) <= 3 * prompt_tokens(body) < len(body) + 3


def test_a_picture_is_not_text() -> None:
    picture = base64.b64encode(bytes(300_000)).decode()
    for slash in ("/", "\\/"):
        url = f'"data:image{slash}png;base64,{picture}"'
        body = f'{{"model":"m","messages":[{{"image_url":{{"url":{url}}}}}]}}'.encode()
        assert 1024 < prompt_tokens(body) < 1100
