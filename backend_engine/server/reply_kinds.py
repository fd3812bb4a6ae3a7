"""The two shapes of answers, chat and text completion, whole and as stream chunks."""

from __future__ import annotations

import secrets
import time
from typing import Any, Protocol

from backend_engine.protocol import ChatCompletionRequest, CompletionRequest
from backend_engine.server.choice import Choice, Delta
from backend_engine.server.generation import Generation
from backend_engine.server.replies import chat_logprobs, completion_logprobs, prompt_logprobs, usage
from backend_engine.server.tool_calls import Call, CallPiece, ToolCallReader
from backend_engine.tokenizer import Tokenizer

Json = dict[str, Any]


class ReplyKind(Protocol):
    """Writes one API request's answer."""

    def opening(self, choice: Choice) -> Json | None:
        """Return the chunk that comes before a choice's first text, if this shape has one."""
        ...

    def chunks(self, choice: Choice, delta: Delta) -> list[Json]:
        """Return the stream chunks of one delta, none if nothing of it is certain yet."""
        ...

    def usage_chunk(self, generation: Generation) -> Json:
        """Return the last chunk, which has no choices."""
        ...

    def whole(self, generation: Generation) -> Json:
        """Return the answer in one piece."""
        ...


class _Reply:
    """What both shapes have in common: the envelope and the usage."""

    def __init__(
        self, prefix: str, object_: str, model: str, tokenizer: Tokenizer, include_usage: bool
    ) -> None:
        self._envelope: Json = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": object_,
            "created": int(time.time()),
            "model": model,
        }
        self._tokenizer = tokenizer
        # With include_usage every chunk says `usage`, null but for the last (OpenAI API reference).
        self._no_usage: Json = {"usage": None} if include_usage else {}

    def usage_chunk(self, generation: Generation) -> Json:
        counted = usage(generation.requests, generation.num_prompts)
        return {**self._envelope, "choices": [], "usage": counted}

    def _chunk(self, choice: Json) -> Json:
        return {**self._envelope, "choices": [choice], **self._no_usage}


class ChatReply(_Reply):
    """`chat.completion` and `chat.completion.chunk`."""

    def __init__(self, body: ChatCompletionRequest, tokenizer: Tokenizer) -> None:
        object_ = "chat.completion.chunk" if body.stream else "chat.completion"
        super().__init__("chatcmpl", object_, body.model, tokenizer, body.include_usage)
        self._wants_logprobs = bool(body.logprobs)
        self._wants_prompt_logprobs = body.prompt_logprobs is not None
        self._may_call = body.may_call
        self._readers: dict[Choice, ToolCallReader] = {}

    def opening(self, choice: Choice) -> Json | None:
        delta = {"role": "assistant", "content": ""}
        return self._chunk({"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": None})

    def chunks(self, choice: Choice, delta: Delta) -> list[Json]:
        content = delta.text
        pieces: list[CallPiece] = []
        finish_reason: str | None = delta.finish_reason
        if self._may_call:
            reader = self._readers.setdefault(choice, ToolCallReader())
            content, pieces = reader.push(delta.text, final=finish_reason is not None)
            finish_reason = _with_calls(finish_reason, reader)
        deltas: list[Json] = [{"content": content}] if content else []
        deltas += [{"tool_calls": [_call_piece(piece)]} for piece in pieces]
        if not deltas and (delta.logprobs or finish_reason):
            deltas = [{}]
        chunks: list[Json] = [
            {"index": choice.index, "delta": part, "logprobs": None, "finish_reason": None} for part in deltas
        ]
        if chunks:
            chunks[0]["logprobs"] = chat_logprobs(self._tokenizer, delta.logprobs) if delta.logprobs else None
            chunks[-1]["finish_reason"] = finish_reason
        return [self._chunk(chunk) for chunk in chunks]

    def whole(self, generation: Generation) -> Json:
        counted = usage(generation.requests, generation.num_prompts)
        answer = {
            **self._envelope,
            "choices": [self._choice(c) for c in generation.choices],
            "usage": counted,
        }
        if self._wants_prompt_logprobs:
            answer["prompt_logprobs"] = prompt_logprobs(self._tokenizer, generation.requests[0])
        return answer

    def _choice(self, choice: Choice) -> Json:
        logprobs = chat_logprobs(self._tokenizer, choice.logprobs) if self._wants_logprobs else None
        message: Json = {"role": "assistant", "content": choice.text, "refusal": None}
        finish_reason: str | None = choice.finish_reason
        if self._may_call:
            reader = ToolCallReader()
            reader.push(choice.text, final=True)
            finish_reason = _with_calls(finish_reason, reader)
            if reader.calls:
                message["content"] = reader.content or None
                message["tool_calls"] = [_call(call) for call in reader.calls]
        return {
            "index": choice.index,
            "message": message,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }


def _with_calls(finish_reason: str | None, reader: ToolCallReader) -> str | None:
    # Also at the token limit: where another call might have followed, those that are there are whole.
    return "tool_calls" if finish_reason in ("stop", "length") and reader.complete else finish_reason


def _call(call: Call) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_piece(piece: CallPiece) -> Json:
    """The first piece of a call says which one it is; later ones carry arguments alone."""
    if not piece.begins:
        return {"index": piece.call.index, "function": {"arguments": piece.arguments}}
    function = {"name": piece.call.name, "arguments": ""}
    return {"index": piece.call.index, "id": piece.call.id, "type": "function", "function": function}


class CompletionReply(_Reply):
    """`text_completion`, whole and streamed."""

    def __init__(self, body: CompletionRequest, tokenizer: Tokenizer) -> None:
        super().__init__("cmpl", "text_completion", body.model, tokenizer, body.include_usage)
        self._wants_logprobs = body.logprobs is not None
        self._wants_prompt_logprobs = body.prompt_logprobs is not None

    def opening(self, choice: Choice) -> Json | None:
        return None

    def chunks(self, choice: Choice, delta: Delta) -> list[Json]:
        if not (delta.text or delta.logprobs or delta.finish_reason):
            return []
        logprobs = None
        if delta.logprobs:
            logprobs = completion_logprobs(self._tokenizer, delta.logprobs, delta.offsets)
        chunk = {
            "index": choice.index,
            "text": delta.text,
            "logprobs": logprobs,
            "finish_reason": delta.finish_reason,
        }
        return [self._chunk(chunk)]

    def whole(self, generation: Generation) -> Json:
        counted = usage(generation.requests, generation.num_prompts)
        return {**self._envelope, "choices": [self._choice(c) for c in generation.choices], "usage": counted}

    def _choice(self, choice: Choice) -> Json:
        answer: Json = {
            "index": choice.index,
            "text": choice.text,
            "logprobs": completion_logprobs(self._tokenizer, choice.logprobs, choice.offsets)
            if self._wants_logprobs
            else None,
            "finish_reason": choice.finish_reason,
        }
        if self._wants_prompt_logprobs:
            answer["prompt_logprobs"] = prompt_logprobs(self._tokenizer, choice.request)
        return answer
