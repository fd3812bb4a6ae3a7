"""What a chat request asks for, as far as it matters to who can answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_PICTURES = ("image_url", "input_image")


class Message(msgspec.Struct, frozen=True):
    """One message; parts that are no text are seen and not read."""

    role: str = ""
    content: Any = None


class Asked(msgspec.Struct, frozen=True):
    """The fields that are read."""

    messages: tuple[Message, ...] = ()
    tools: Any = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    functions: Any = None
    n: int | None = None
    response_format: Any = None

    def question(self) -> str | None:
        """Return the text of the user's last message; None if there is none, or any message is more than text
        and pictures."""
        texts = [(message.role, _text(message.content)) for message in self.messages]
        if any(text is None for _, text in texts):
            return None
        return next((text for role, text in reversed(texts) if role == "user"), None)

    def has_pictures(self) -> bool:
        """Return whether a message has a picture among its parts."""
        return any(
            part.get("type") in _PICTURES
            for message in self.messages
            if isinstance(message.content, list)
            for part in message.content
            if isinstance(part, dict)
        )

    def beginning(self) -> list[Any]:
        """Return what tells one conversation from another: what the system says, and the user first."""
        said = [message.content for message in self.messages if message.role in ("system", "developer")]
        return said + [message.content for message in self.messages if message.role == "user"][:1]

    def goes_on(self) -> bool:
        """Return whether the model has said something before."""
        return any(message.role == "assistant" for message in self.messages)

    def format(self) -> Mapping[str, Any] | None:
        """Return the form that was asked for, if one was."""
        return self.response_format if isinstance(self.response_format, Mapping) else None

    def functions_by_name(self) -> dict[str, Any] | None:
        """Return the parameters of each tool; None if one is no function, or has no name."""
        found: dict[str, Any] = {}
        for tool in self.tools if isinstance(self.tools, Sequence) else ():
            function = tool.get("function") if isinstance(tool, Mapping) else None
            if not isinstance(function, Mapping) or tool.get("type") != "function":
                return None
            if not isinstance(name := function.get("name"), str):
                return None
            found[name] = function.get("parameters")
        return found


_ASKED = msgspec.json.Decoder(Asked)


def read_asked(body: bytes) -> Asked | None:
    """Return what a body asks for; None if it is not what OpenAI's clients send."""
    try:
        return _ASKED.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _text(content: Any) -> str | None:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        if not isinstance(part, Mapping):
            return None
        kind, text = part.get("type"), part.get("text")
        if kind == "text" and isinstance(text, str):
            texts.append(text)
        elif kind not in _PICTURES:
            return None
    return "\n".join(texts)
