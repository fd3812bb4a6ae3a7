"""From a checked API request to running sequences: tokenizing, limits, and one record of how it went."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from backend_engine.async_engine import AsyncEngine
from backend_engine.chat_template import ChatTemplate
from backend_engine.detokenize import IncrementalDetokenizer
from backend_engine.errors import ContextLengthExceeded, GrammarFailed, InvalidRequest
from backend_engine.protocol import (
    ChatCompletionRequest,
    CompletionRequest,
    GenerationRequest,
    TokenizeRequest,
    template_messages,
)
from backend_engine.request import Request
from backend_engine.sampling.params import SamplingParams
from backend_engine.server.caller import Caller
from backend_engine.server.choice import Choice, Delta
from backend_engine.server.observe import Observer
from backend_engine.structured.api import Tool
from backend_engine.structured.compiler import CompiledGrammar, GrammarCompiler
from backend_engine.tokenizer import Tokenizer

# Rendering and tokenizing so many characters takes about a millisecond: more would be felt in other streams.
_INLINE_CHARS = 4096


T = TypeVar("T")


@dataclass(slots=True)
class Generation:
    """The sequences of one API request, prompts in order, each prompt's choices together."""

    choices: list[Choice]
    num_prompts: int

    @property
    def requests(self) -> list[Request]:
        return [choice.request for choice in self.choices]


class Generator:
    """Makes and runs generations for the HTTP handlers."""

    def __init__(
        self,
        engine: AsyncEngine,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate | None,
        *,
        max_context: int,
        capacity_tokens: int,
        vocab_size: int,
        compiler: GrammarCompiler,
        max_output_tokens: int | None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.max_context = max_context
        self._chat_template = chat_template
        self._capacity_tokens = capacity_tokens
        self._vocab_size = vocab_size
        self._compiler = compiler
        self._max_output_tokens = max_output_tokens

    @property
    def window(self) -> int:
        """Tokens that prompt and completion may have together: what the model reads and the cache holds."""
        return min(self.max_context, self._capacity_tokens)

    async def chat(self, body: ChatCompletionRequest, caller: Caller) -> Generation:
        """Prepare a chat completion."""
        prompt = await self._render(body.template_messages(), body.offered_tools)
        prompt_ids = await self._tokenize(prompt, add_special=False)
        structure = body.structure()
        grammar = None if structure is None else await self._compiler.compile(structure)
        return self._generation(
            body, [prompt_ids], body.completion_tokens, body.num_logprobs, caller, "messages", grammar
        )

    async def completion(self, body: CompletionRequest, caller: Caller) -> Generation:
        """Prepare a text completion."""
        prompts = []
        for prompt in body.prompts:
            if isinstance(prompt, str):
                prompts.append(await self._tokenize(prompt, add_special=True))
            elif all(0 <= token < self._vocab_size for token in prompt):
                prompts.append(prompt)
            else:
                raise InvalidRequest(
                    f"Token ids must be at least 0 and below {self._vocab_size}.", param="prompt"
                )
        max_tokens = body.completion_tokens
        if body.max_tokens is None and self._max_output_tokens is not None:
            max_tokens = min(max_tokens, self._max_output_tokens)
        return self._generation(body, prompts, max_tokens, body.num_logprobs, caller, "prompt")

    async def tokens(self, body: TokenizeRequest) -> list[int]:
        """Return the tokens that the model would read."""
        if body.messages is None:
            special = body.add_special_tokens is not False
            return await self._tokenize(body.prompt or "", add_special=special)
        prompt = await self._render(
            template_messages(body.messages), body.offered_tools, open_answer=body.add_generation_prompt
        )
        return await self._tokenize(prompt, add_special=bool(body.add_special_tokens))

    async def run(self, generation: Generation, observer: Observer) -> AsyncGenerator[tuple[Choice, Delta]]:
        """Yield every step's delta of every choice; leaving early aborts the sequences.

        Raises GrammarFailed, and what `AsyncEngine.generate` raises.
        """
        choices = {choice.request: choice for choice in generation.choices}
        async with aclosing(self.engine.generate(generation.requests)) as outputs:
            async for output in outputs:
                observer.token(output)
                choice = choices[output.request]
                if output.finish_reason == "error":
                    reason = "" if output.request.guide is None else output.request.guide.error
                    raise GrammarFailed(f"The answer's grammar became too complex: {reason}")
                yield choice, choice.take(output)

    async def _render(
        self, messages: Sequence[dict[str, Any]], offered: Sequence[Tool], *, open_answer: bool = True
    ) -> str:
        template = self._chat_template
        if template is None:
            raise InvalidRequest(
                "This model has no chat template: use /v1/completions.",
                param="messages",
                code="no_chat_template",
            )
        messages, tools = template.layout(messages, offered)

        def render() -> str:
            return template.render(messages, tools=tools, add_generation_prompt=open_answer)

        if sum(len(message["content"]) for message in messages) <= _INLINE_CHARS:
            return render()
        return await asyncio.to_thread(render)

    async def _tokenize(self, text: str, *, add_special: bool) -> list[int]:
        if len(text) <= _INLINE_CHARS:
            return self.tokenizer.encode(text, add_special=add_special)
        return await asyncio.to_thread(self.tokenizer.encode, text, add_special=add_special)

    def _generation(
        self,
        body: GenerationRequest,
        prompts: list[list[int]],
        max_tokens: int | None,
        logprobs: int | None,
        caller: Caller,
        param: str,
        grammar: CompiledGrammar | None = None,
    ) -> Generation:
        priority = (body.priority or 0) if caller.priority is None else caller.priority
        seed = secrets.randbits(63) if body.seed is None else body.seed
        requests: list[Request] = []
        for prompt in prompts:
            params = self._sampling(body, len(prompt), max_tokens, logprobs, param)
            for sample in range(body.num_choices):
                detokenizer = IncrementalDetokenizer(self.tokenizer.token_bytes, body.stop_strings)
                requests.append(
                    Request(
                        id=secrets.token_hex(8),
                        token_ids=list(prompt),
                        params=params,
                        detokenizer=detokenizer,
                        guide=None if grammar is None else grammar.guide(),
                        salt=caller.salt,
                        priority=priority,
                        deadline=caller.deadline,
                        seed=seed,
                        sample_index=sample,
                    )
                )
        return Generation([Choice(index, request) for index, request in enumerate(requests)], len(prompts))

    def _sampling(
        self,
        body: GenerationRequest,
        prompt_tokens: int,
        max_tokens: int | None,
        logprobs: int | None,
        param: str,
    ) -> SamplingParams:
        if prompt_tokens == 0:
            raise InvalidRequest(f"'{param}' has no tokens.", param=param)
        cap = self._max_output_tokens
        if cap is not None and max_tokens is not None and max_tokens > cap:
            raise InvalidRequest(
                f"This engine gives at most {cap} tokens of output, but you requested {max_tokens}.",
                param="max_tokens",
                code="max_tokens_exceeded",
            )
        limit = self.window
        if prompt_tokens + (max_tokens or 1) > limit:
            asked = f"{prompt_tokens} in the prompt, {max_tokens or 1} in the completion"
            why = "maximum context length" if limit == self.max_context else "KV cache"
            raise ContextLengthExceeded(
                f"This model's {why} is {limit} tokens, but you requested "
                f"{prompt_tokens + (max_tokens or 1)} ({asked}).",
                param=param,
            )
        return SamplingParams(
            max_tokens=min(limit - prompt_tokens, cap or limit) if max_tokens is None else max_tokens,
            min_tokens=_or(body.min_tokens, 0),
            temperature=_or(body.temperature, 1.0),
            top_p=_or(body.top_p, 1.0),
            # -1 is vLLM's way to say that all tokens are kept.
            top_k=0 if body.top_k == -1 else _or(body.top_k, 0),
            min_p=_or(body.min_p, 0.0),
            presence_penalty=_or(body.presence_penalty, 0.0),
            frequency_penalty=_or(body.frequency_penalty, 0.0),
            repetition_penalty=_or(body.repetition_penalty, 1.0),
            logit_bias=self._logit_bias(body.logit_bias),
            stop=body.stop_strings,
            ignore_eos=bool(body.ignore_eos),
            logprobs=logprobs,
            prompt_logprobs=body.prompt_logprobs,
        )

    def _logit_bias(self, bias: dict[str, float] | None) -> dict[int, float]:
        out = {}
        for key, value in (bias or {}).items():
            if not key.isascii() or not key.isdigit() or int(key) >= self._vocab_size:
                raise InvalidRequest(
                    f"'logit_bias' names token {key!r}; ids are below {self._vocab_size}.", param="logit_bias"
                )
            out[int(key)] = value
        return out


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
