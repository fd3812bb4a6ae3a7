"""How many tokens a request may take, from its bytes alone: the gateway has no tokenizer.

An estimate is reserved before the request runs and replaced by the true count afterwards, so it should rather
be too high. Three bytes a token holds for English (four and more), for most code, and for Chinese, Japanese
and Korean (three bytes a character in UTF-8, a character or more a token).
"""

from __future__ import annotations

import re

from gateway.wire.request import Endpoint, RequestView

UNSTATED_COMPLETION = 1024
"""Reserved for the answer of a request that does not say how long it may be."""
_BYTES_PER_TOKEN = 3
# A model sees a picture in tiles, some hundred tokens each, and not in characters of base64.
PICTURE_TOKENS = 1024
_PICTURE = re.compile(rb"data:[a-z]+\\?/[\w.+-]+;base64,[A-Za-z0-9+/=\\]*")
# Numbers that no upstream accepts must not overflow the accounts.
_MOST = 10**9
_MOST_CHOICES = 1000


def prompt_tokens(body: bytes) -> int:
    """Return an estimate of what the upstream will count as the prompt."""
    size, pictures = text_and_pictures(body)
    return -(-size // _BYTES_PER_TOKEN) + pictures * PICTURE_TOKENS


def text_and_pictures(body: bytes) -> tuple[int, int]:
    """Return the bytes of a body that are no pictures, and how many of these there are."""
    size = len(body)
    pictures = 0
    if b";base64," in body:
        for picture in _PICTURE.finditer(body):
            size -= len(picture[0])
            pictures += 1
    return size, pictures


def stated_completion(view: RequestView, body: bytes, endpoint: Endpoint) -> int | None:
    """Return the most tokens that the answer may have, over all its choices; None if it is not said."""
    if not endpoint.streams:
        return 0
    most = view.value(body, "max_completion_tokens", int)
    if most is None:
        most = view.value(body, "max_tokens", int)
    return None if most is None else _bounded(_bounded(most) * choices(view, body))


def choices(view: RequestView, body: bytes) -> int:
    """Return how many answers are generated: `best_of` of them, of which `n` are sent."""
    given = (view.value(body, "n", int), view.value(body, "best_of", int))
    return max([1, *(min(number, _MOST_CHOICES) for number in given if number is not None)])


def _bounded(number: int) -> int:
    return min(max(0, number), _MOST)
