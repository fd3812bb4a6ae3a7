"""What the engine's HTTP API accepts: OpenAI's request bodies, vLLM's sampling extras, nothing unnamed.

A field is honoured, harmless (it cannot change the answer), or refused by name; nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec

from backend_engine.errors import InvalidRequest, ModelNotFound, UnsupportedParameter
from backend_engine.structured.api import (
    ResponseFormat,
    Tool,
    ToolCall,
    ToolChoice,
    check_response_format,
    check_tools,
    requested_structure,
)
from backend_engine.structured.grammar import Structure

SALT_HEADER = "x-forebay-salt"
"""Partition of the prefix cache, set by the gateway for each tenant; requests of one salt share blocks."""

PRIORITY_HEADER = "x-forebay-priority"
"""As the body's `priority`, which it overrules."""

DEADLINE_HEADER = "x-forebay-deadline-ms"
"""Milliseconds from now after which the answer is of no use: the request is ended with an error."""

MAX_PRIORITY = 100

MAX_CHOICES = 128
_UNKNOWN_FIELD = "Object contains unknown field `"
DEFAULT_COMPLETION_TOKENS = 16


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """OpenAI's `stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class GenerationRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields that chat and text completions share."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    seed: int | None = None
    prompt_logprobs: int | None = None
    priority: int | None = None

    # Harmless: names for the caller's own records, or hints about a service that we are not.
    user: str | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None

    # Refused unless neutral.
    best_of: int | None = None
    store: bool | None = None

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def num_choices(self) -> int:
        return 1 if self.n is None else self.n

    @property
    def stop_strings(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def check(self) -> None:
        """Raise InvalidRequest for a combination or a field that is not supported."""
        if not 1 <= self.num_choices <= MAX_CHOICES:
            raise InvalidRequest(f"'n' must be between 1 and {MAX_CHOICES}, not {self.n}.", param="n")
        if self.stream_options is not None and not self.stream:
            raise InvalidRequest(
                "'stream_options' is only allowed when 'stream' is true.", param="stream_options"
            )
        if self.prompt_logprobs is not None and self.stream:
            raise UnsupportedParameter("prompt_logprobs", "'prompt_logprobs' cannot be streamed.")
        if self.best_of not in (None, self.num_choices):
            raise UnsupportedParameter("best_of")
        if not -MAX_PRIORITY <= (self.priority or 0) <= MAX_PRIORITY:
            raise InvalidRequest(
                f"'priority' must be between -{MAX_PRIORITY} and {MAX_PRIORITY}, not {self.priority}.",
                param="priority",
            )
        if self.store:
            raise UnsupportedParameter("store")


class ContentPart(msgspec.Struct):
    """One part of a message's content; only text is understood here."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """One chat message."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: Any = None
    audio: Any = None
    annotations: list[Any] | None = None


class ChatCompletionRequest(GenerationRequest, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    modalities: list[str] | None = None
    audio: Any = None
    prediction: Any = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    web_search_options: Any = None

    @property
    def completion_tokens(self) -> int | None:
        """The caller's limit; None lets the answer fill the context."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def may_call(self) -> bool:
        """The answer may hold tool calls."""
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def offered_tools(self) -> list[Tool]:
        """The tools that the model is told of; with `tool_choice: none` it is told of none."""
        return self.tools if self.tools and self.may_call else []

    def structure(self) -> Structure | None:
        """Return what the answer is held to, None for free text."""
        return requested_structure(
            self.response_format, self.offered_tools, self.tool_choice, self.parallel_tool_calls
        )

    def check(self) -> None:
        super().check()
        if not self.messages:
            raise InvalidRequest("'messages' must not be empty.", param="messages")
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
        check_response_format(self.response_format)
        check_tools(self.tools or [], self.tool_choice)
        if self.modalities not in (None, ["text"]):
            raise UnsupportedParameter("modalities")
        for name in (
            "functions",
            "function_call",
            "audio",
            "prediction",
            "reasoning_effort",
            "verbosity",
            "web_search_options",
        ):
            if getattr(self, name):
                raise UnsupportedParameter(name)

    def template_messages(self) -> list[dict[str, Any]]:
        """Return the messages as chat templates expect them: `role`, a `content` string, and calls."""
        return template_messages(self.messages)


class CompletionRequest(GenerationRequest, kw_only=True):
    """Body of `POST /v1/completions`."""

    prompt: str | list[str | int | list[int]]
    logprobs: int | None = None
    echo: bool | None = None
    suffix: str | None = None

    @property
    def completion_tokens(self) -> int:
        return DEFAULT_COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def num_logprobs(self) -> int | None:
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, each as text or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        token_ids = [item for item in self.prompt if isinstance(item, int)]
        others = [item for item in self.prompt if not isinstance(item, int)]
        if token_ids and others:
            raise InvalidRequest("'prompt' mixes token ids with prompts.", param="prompt")
        return [token_ids] if token_ids else others

    def check(self) -> None:
        super().check()
        if not self.prompts:
            raise InvalidRequest("'prompt' must not be empty.", param="prompt")
        if self.echo:
            raise UnsupportedParameter("echo")
        if self.suffix:
            raise UnsupportedParameter("suffix")


class TokenizeRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of vLLM's `POST /tokenize`: a chat's messages, or a prompt."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    add_special_tokens: bool | None = None
    """None adds them to a prompt, and none to a chat, whose template writes its own."""
    add_generation_prompt: bool = True

    @property
    def offered_tools(self) -> list[Tool]:
        """The tools that the model would be told of."""
        return self.tools if self.tools and self.tool_choice != "none" else []

    def check(self) -> None:
        """Raise InvalidRequest for what is neither or both."""
        if (self.prompt is None) == (self.messages is None):
            raise InvalidRequest("Give either 'prompt' or 'messages'.", param="messages")
        check_tools(self.tools or [], self.tool_choice)


R = TypeVar("R", bound=GenerationRequest)
T = TypeVar("T", bound=msgspec.Struct)


def parse_chat(body: bytes, served_model: str) -> ChatCompletionRequest:
    """Decode and check a chat request; raises InvalidRequest or ModelNotFound."""
    return _checked(_decode(body, ChatCompletionRequest), served_model)


def parse_completion(body: bytes, served_model: str) -> CompletionRequest:
    """Decode and check a text completion request; raises InvalidRequest or ModelNotFound."""
    return _checked(_decode(body, CompletionRequest), served_model)


def parse_tokenize(body: bytes, served_model: str) -> TokenizeRequest:
    """Decode and check a request to count tokens; raises InvalidRequest or ModelNotFound."""
    request = _decode(body, TokenizeRequest)
    _check_model(served_model if request.model is None else request.model, served_model)
    request.check()
    return request


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as chat templates expect them: `role`, a `content` string, and calls."""
    return [_template_message(message, index) for index, message in enumerate(messages)]


def _checked(request: R, served_model: str) -> R:
    _check_model(request.model, served_model)
    request.check()
    return request


def _check_model(model: str, served_model: str) -> None:
    if model != served_model:
        raise ModelNotFound(f"The model '{model}' does not exist; this engine serves '{served_model}'.")


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message = str(error)
        if message.startswith(_UNKNOWN_FIELD):
            unknown = message.removeprefix(_UNKNOWN_FIELD).split("`", 1)[0]
            raise InvalidRequest(
                f"Unrecognized request argument supplied: {unknown}", param=unknown, code="unknown_parameter"
            ) from None
        reason, _, path = message.partition(" - at `$.")
        where = path.removesuffix("`")
        raise InvalidRequest(f"{reason}{f' (at {where})' if where else ''}.", param=where or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The request body is not valid JSON: {error}") from None


def _template_message(message: Message, index: int) -> dict[str, Any]:
    where = f"messages[{index}]"
    for name in ("function_call", "audio"):
        if getattr(message, name):
            raise UnsupportedParameter(f"{where}.{name}")
    if message.role == "function":
        raise UnsupportedParameter(f"{where}.role", "The role 'function' is not supported: use 'tool'.")
    if message.tool_calls and message.role != "assistant":
        raise InvalidRequest("Only the assistant makes tool calls.", param=f"{where}.tool_calls")
    if message.role == "tool" and not message.tool_call_id:
        raise InvalidRequest(f"'{where}.tool_call_id' is missing.", param=f"{where}.tool_call_id")
    content = message.content
    if isinstance(content, list):
        content = "".join(_part_text(part, f"{where}.content[{at}]") for at, part in enumerate(content))
    if content is None and not message.tool_calls:
        raise InvalidRequest(f"'{where}.content' must be text.", param=f"{where}.content")
    out: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    out["content"] = content or ""
    if message.tool_calls:
        out["tool_calls"] = [
            _template_call(call, f"{where}.tool_calls[{at}]") for at, call in enumerate(message.tool_calls)
        ]
    return out


def _template_call(call: ToolCall, where: str) -> dict[str, Any]:
    """Templates write the arguments themselves, so they get them decoded."""
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        param = f"{where}.function.arguments"
        raise InvalidRequest(f"'{param}' must be a JSON object in text.", param=param) from None
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": arguments},
    }


def _part_text(part: ContentPart, where: str) -> str:
    if part.type != "text":
        raise UnsupportedParameter(where, f"Content of type '{part.type}' is not supported by this engine.")
    if part.text is None:
        raise InvalidRequest(f"'{where}.text' is missing.", param=where)
    return part.text
