"""Everything the engine raises on purpose.

EngineError
├── ModelError                 the model files cannot be used
│   ├── CheckpointError        unreadable, truncated or inconsistent file
│   └── UnsupportedModel       readable, but an architecture or tensor type we do not run
├── InvalidRequest             the caller's fault: HTTP 400
│   ├── UnsupportedParameter   a known parameter that is not built, refused by name
│   ├── UnsupportedSchema      a JSON schema that cannot be enforced, its part named
│   └── ContextLengthExceeded  prompt + max_tokens does not fit the model or the KV pool
├── GrammarFailed              a grammar became too complex half way: HTTP 500
├── ModelNotFound              HTTP 404
├── EngineOverloaded           the queue is full: HTTP 429
├── DeadlineExceeded           the caller's deadline passed before the answer was complete: HTTP 504
└── EngineStopped              shutting down or its loop died: HTTP 503
"""

from __future__ import annotations


class EngineError(Exception):
    """Root of the engine's exceptions."""


class ModelError(EngineError):
    """The model files cannot be used."""


class CheckpointError(ModelError):
    """A model file is unreadable, truncated or contradicts itself."""


class UnsupportedModel(ModelError):
    """A model file is readable but describes something this engine does not run."""


class InvalidRequest(EngineError):
    """A request that can never succeed as sent; `param` names the offending field."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class UnsupportedParameter(InvalidRequest):
    """A parameter of the OpenAI API that this engine does not implement."""

    def __init__(self, param: str, message: str | None = None) -> None:
        super().__init__(
            message or f"'{param}' is not supported by this engine.",
            param=param,
            code="unsupported_parameter",
        )


class UnsupportedSchema(InvalidRequest):
    """A JSON schema that answers cannot be held to; the message names the part."""

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message, param=param, code="unsupported_schema")


class ContextLengthExceeded(InvalidRequest):
    """Prompt and requested completion do not fit the context window or the KV pool."""

    def __init__(self, message: str, *, param: str = "messages") -> None:
        super().__init__(message, param=param, code="context_length_exceeded")


class GrammarFailed(EngineError):
    """The grammar library gave up on an answer that it was guiding."""


class ModelNotFound(EngineError):
    """The requested model name is not the one this engine serves."""


class EngineOverloaded(EngineError):
    """The waiting queue is full; `retry_after_s` is when it should have room, if that could be measured."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(EngineError):
    """A request was ended because its deadline passed."""


class EngineStopped(EngineError):
    """The engine is shutting down, or its loop or process has ended.

    `status` is the exit status of a process that ended by itself.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
