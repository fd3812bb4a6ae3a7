"""Which part of a user's message is the question, and what kind of question it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.compression.segments import Segment

SHORT = 400
"""Characters up to which a first paragraph is an instruction and not a document."""
LAST = 1000
"""The same for the last paragraph, which more often is the question."""
MOST = 1500
"""Characters of a question that are compared with documents."""
_LABELLED = re.compile(
    r"^\W{0,4}(question|query|task|instructions?|request|q|key)\b[^\n]{0,20}:", re.IGNORECASE
)
_FORM = re.compile(
    r"\b(format\w*|indent\w*|white ?space|blank lines?|pretty|minif\w*|verbatim|word for word|exactly as|"
    r"diff|layout|line numbers?|syntax|valid json|proofread\w*|spell\w*|typos?|punctuation)\b",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"\b(summar\w+|translat\w+|rewrit\w+|rephras\w+|paraphras\w+|proofread\w*|review|edit|convert|count|"
    r"how many|how much|total|sum|average|mean|median|all|every|each|list|compare\w*|classif\w+|extract|"
    r"refactor|outline|most|least|fewest|any|none|whole|entire|overall|everything|themes?|analy[sz]\w+|fix|debug)\b",
    re.IGNORECASE,
)


def protected(parts: Sequence[Segment]) -> set[int]:
    """Return the places of the segments that are the question or instructions, never to be changed.

    That is a short first paragraph, the last one unless it is long, and what is labelled as a question. The
    rule looks at one message alone, so it says the same however the conversation goes on.
    """
    texts = [place for place, part in enumerate(parts) if part.kind == "text"]
    solid = [place for place, part in enumerate(parts) if part.kind != "gap"]
    if not solid:
        return set()
    kept = {place for place in texts if _LABELLED.match(parts[place].text) and len(parts[place].text) <= LAST}
    first, last = solid[0], solid[-1]
    if parts[first].kind == "text" and len(parts[first].text) <= SHORT:
        kept.add(first)
    if parts[last].kind == "text" and len(parts[last].text) <= LAST:
        kept.add(last)
    return kept


def asked(parts: Sequence[Segment]) -> list[str]:
    """Return what documents are compared with: the protected texts that ask something, or all of them."""
    return asking([parts[place].text for place in sorted(protected(parts))])


def asking(texts: Sequence[str]) -> list[str]:
    """Return those of some texts that ask something, or all of them."""
    return [text for text in texts if asks(text)] or list(texts)


def asks(text: str) -> bool:
    """Return whether a text has the form of a question, or is called one."""
    return "?" in text or "？" in text or _LABELLED.match(text) is not None


def about_form(question: str) -> bool:
    """Return whether the question may be about how a text is written, so that even white space counts."""
    return _FORM.search(question) is not None


def about_the_whole(question: str) -> bool:
    """Return whether the answer may need every part of a text, so that nothing may be left out."""
    return _WHOLE.search(question) is not None
