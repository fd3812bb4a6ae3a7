"""OpenAI's response bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend_engine.request import Request
from backend_engine.sampling.logprobs import PositionLogprobs
from backend_engine.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"


def usage(requests: Sequence[Request], num_prompts: int) -> dict[str, Any]:
    """Count tokens; the prompt of several choices is counted once, as OpenAI does.

    `requests` hold the choices of each prompt one after another. `cached_tokens` is what the first
    choice of each prompt found in the prefix cache: its siblings always find what it computed.
    """
    choices = len(requests) // num_prompts
    first = requests[::choices]
    prompt = sum(request.num_prompt_tokens for request in first)
    completion = sum(request.num_output_tokens for request in requests)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(request.num_cached for request in first)},
    }


def chat_logprobs(tokenizer: Tokenizer, positions: Sequence[PositionLogprobs]) -> dict[str, Any]:
    """Return the `logprobs` object of a chat choice."""
    content = []
    for position in positions:
        entry = _chat_entry(tokenizer, position.token_id, position.logprob)
        entry["top_logprobs"] = [_chat_entry(tokenizer, token, value) for token, value in position.top]
        content.append(entry)
    return {"content": content, "refusal": None}


def completion_logprobs(
    tokenizer: Tokenizer, positions: Sequence[PositionLogprobs], offsets: Sequence[int]
) -> dict[str, Any]:
    """Return the `logprobs` object of a text completion choice."""
    return {
        "tokens": [tokenizer.token_text(position.token_id) for position in positions],
        "token_logprobs": [position.logprob for position in positions],
        "top_logprobs": [
            {tokenizer.token_text(token): value for token, value in position.top} for position in positions
        ],
        "text_offset": list(offsets),
    }


def prompt_logprobs(tokenizer: Tokenizer, request: Request) -> list[dict[str, Any] | None]:
    """Return vLLM's `prompt_logprobs`: null for the first token, then the token and its rivals by id.

    Tokens that are no text by themselves, such as half of a character, have their `bytes` as well: without
    them nobody could tell where in the prompt the tokens stand.
    """
    entries: list[dict[str, Any] | None] = [None]
    for position in request.prompt_logprobs:
        entry = {
            str(token): _prompt_entry(tokenizer, token, value, rank)
            for rank, (token, value) in enumerate(position.top, start=1)
        }
        token = position.token_id
        entry[str(token)] = _prompt_entry(tokenizer, token, position.logprob, position.rank)
        entries.append(entry)
    return entries


def _prompt_entry(tokenizer: Tokenizer, token_id: int, logprob: float, rank: int) -> dict[str, Any]:
    text = tokenizer.token_text(token_id)
    entry: dict[str, Any] = {"logprob": logprob, "rank": rank, "decoded_token": text}
    if _REPLACEMENT in text:
        entry["bytes"] = list(tokenizer.token_bytes(token_id))
    return entry


def _chat_entry(tokenizer: Tokenizer, token_id: int, logprob: float) -> dict[str, Any]:
    return {
        "token": tokenizer.token_text(token_id),
        "logprob": logprob,
        "bytes": list(tokenizer.token_bytes(token_id)),
    }
