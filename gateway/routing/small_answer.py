"""What a smaller tier said, as the router judges it."""

from __future__ import annotations

from gateway.routing.tool_calls import refuse_calls
from gateway.wire.asked import Asked
from gateway.wire.reply import Reply
from router.after.signs import SmallAnswer


def small_answer(asked: Asked, question: str, reply: Reply) -> SmallAnswer:
    """Return a reply to a request whose last user's message says `question`."""
    return SmallAnswer(
        question,
        reply.text,
        reply.finish_reason,
        asked.format(),
        reply.tokens,
        calls=bool(reply.calls),
        fault=refuse_calls(asked, reply.calls) if asked.tools or reply.calls else None,
    )
