"""Whether two stored answers say the same, word for word or as the semantic process sees it."""

from __future__ import annotations

from semantic_cache.semantic.client import SemanticClient
from semantic_cache.semantic.protocol import Learned, Vouch
from semantic_cache.semantic.question import AnswerTexts


async def agree(
    client: SemanticClient | None, mine: AnswerTexts, theirs: AnswerTexts, patience_s: float
) -> bool | None:
    """Return whether they do; None if that can't be told, as of answers that differ without a `client`."""
    if mine == theirs:
        return True
    if mine.beside != theirs.beside:
        # What stands beside the answer (a chain of thought, a refusal) is given on with it.
        return False
    if client is None:
        return None
    vouched = await client.ask(Vouch(mine.said, theirs.said), Learned, patience_s)
    return None if vouched is None else vouched.same
