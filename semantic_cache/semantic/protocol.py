"""What workers and the semantic process say to each other over a Unix socket.

A frame is a length (4 bytes, big-endian) and a msgpack array of a number and a message. Whoever asks chooses
the number, and it comes back with the answer; number 0 is not answered. Answers come in any order.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import msgspec

MAX_FRAME: Final = 8 * 1024 * 1024
MAX_TEXTS: Final = 1024
UNANSWERED: Final = 0
LATE: Final = "late"
"""The reason of a Failed for a Look that took longer than its patience."""
_LENGTH = struct.Struct(">I")


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Anything that is said."""


# Worker to process.


class Look(Message, frozen=True, tag="look"):
    """May a stored answer serve this question? Answered by Looked."""

    tenant: str
    model: str
    scope: bytes
    key: bytes
    """Digest of the question's own key."""
    text: str
    error_budget: float
    threshold: float | None = None
    """Similarity below which nothing is served, if the caller wants it tighter."""
    patience_s: float | None = None
    """How long the caller waits: what takes longer is not worth doing."""
    group: str = ""
    """Whose confirmed answers may serve the question as well (`Scope.group`); empty: it is not shared."""
    peers: tuple[str, ...] = ()
    """The group's other tenants: an answer that only one of them has had is never served, but may be named
    for the fresh one to be compared with."""


class Explain(Message, frozen=True, tag="explain"):
    """The same, but nothing is explored, and every candidate's verdicts come with their details."""

    look: Look


class Embed(Message, frozen=True, tag="embed"):
    """The vectors of texts. Answered by Embedded."""

    texts: list[str]


class Rank(Message, frozen=True, tag="rank"):
    """How like a text are others? Answered by Ranked."""

    text: str
    texts: list[str]


class Search(Message, frozen=True, tag="search"):
    """Which stored questions of a scope are nearest to a text? Answered by Found."""

    tenant: str
    scope: bytes
    text: str
    k: int = 4


class Learn(Message, frozen=True, tag="learn"):
    """Was the answer that a Looked spoke of right for its question? Answered by Learned.

    `same` says so; where it is None, two answers do: the fresh one and the stored one.
    """

    ticket: int
    same: bool | None = None
    fresh: str = ""
    stored: str = ""


class Vouch(Message, frozen=True, tag="vouch"):
    """Does a tenant's fresh answer say what another's stored one says? Answered by Learned; nothing is learnt
    by it."""

    fresh: str
    stored: str


class Block(Message, frozen=True, tag="block"):
    """Somebody says that an entry's answer was wrong for this question. Answered by Learned."""

    tenant: str
    entry: bytes
    question: bytes
    ticket: int = 0


class Withdraw(Message, frozen=True, tag="withdraw"):
    """A tenant found an answer wrong that this one had contributed to their group. Answered by Learned."""

    tenant: str
    entry: bytes


class Hurry(Message, frozen=True, tag="hurry"):
    """The store has just changed. Not answered."""


class Stats(Message, frozen=True, tag="stats"):
    """How are you? Answered by Numbers."""


# Process to worker.


class Verdict(Message, frozen=True):
    """One gate's verdict on one candidate."""

    gate: str
    passed: bool
    detail: str = ""
    """Only in answer to Explain: it may quote a word of the question."""


class Considered(Message, frozen=True):
    """What was found out about one candidate."""

    entry: bytes
    similarity: float
    gates: list[Verdict]
    verifier: float | None
    """Log-odds of "same"; None if the verifier was not asked or abstained."""
    probability: float
    bound: float
    text: str = ""
    """Only in answer to Explain."""


class Steps(Message, frozen=True):
    """Milliseconds that the process spent on a Look, waiting for its embedder included."""

    embed: float
    """The question."""
    search: float = 0.0
    gates: float = 0.0
    candidates: float = 0.0
    """Encodings of stored questions that passed the gates."""
    decide: float = 0.0
    """Verifier, calibration and labels."""


class Looked(Message, frozen=True, tag="looked"):
    """Serve `serve`; or go on, and if `explored` is given, compare the fresh answer with that entry's."""

    reason: str
    serve: bytes | None = None
    explored: bytes | None = None
    similarity: float | None = None
    """Of the entry to serve or explore, else of the nearest candidate."""
    probability: float = 0.0
    bound: float = 1.0
    ticket: int = 0
    """For Learn; 0 if there is nothing to learn."""
    embedder: str = ""
    vector: bytes = b""
    """The question's own vector, as `Record.vector` has it."""
    considered: list[Considered] = []
    steps: Steps | None = None
    """None if there was nothing to decide."""
    holder: str = ""
    """Who has the answer named: the tenant itself, its group, or, of one that is explored, a peer."""


class Embedded(Message, frozen=True, tag="embedded"):
    """[dim] little-endian fp32 of unit length for each text."""

    embedder: str
    dim: int
    vectors: list[bytes]


class Ranked(Message, frozen=True, tag="ranked"):
    """Cosine similarity of each text, in their order."""

    similarities: list[float]


class Near(Message, frozen=True):
    """One stored question."""

    entry: bytes
    similarity: float


class Found(Message, frozen=True, tag="found"):
    """The nearest first."""

    near: list[Near]


class Learned(Message, frozen=True, tag="learned"):
    """`same` is the label that was taken; None if nothing could be learnt."""

    same: bool | None


class Numbers(Message, frozen=True, tag="numbers"):
    """What the process holds."""

    embedder: str
    entries: int
    scopes: int
    waiting: int
    """Records that have no vector yet."""
    caught_up: bool
    index_bytes: int


class Failed(Message, frozen=True, tag="failed"):
    """The call could not be answered; `reason` is one word or two."""

    reason: str


Call: TypeAlias = Look | Explain | Embed | Rank | Search | Learn | Vouch | Block | Withdraw | Hurry | Stats
Reply: TypeAlias = Looked | Embedded | Ranked | Found | Learned | Numbers | Failed

_ENCODE = msgspec.msgpack.Encoder().encode
decode_call = msgspec.msgpack.Decoder(tuple[int, Call]).decode
decode_reply = msgspec.msgpack.Decoder(tuple[int, Reply]).decode


class BadFrame(ValueError):
    """The other end does not speak this protocol, or says too much at once."""


def frame(number: int, message: Call | Reply) -> bytes:
    """Return a message as it goes over the socket. Raises BadFrame for one that is too large."""
    body = _ENCODE((number, message))
    if len(body) > MAX_FRAME:
        raise BadFrame(f"a message of {len(body)} bytes is too large")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a byte stream, split anywhere, into the bodies of frames."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that `data` completes. Raises BadFrame."""
        pending = self._pending
        pending += data
        bodies: list[bytes] = []
        start = 0
        while len(pending) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(pending, start)
            if length > MAX_FRAME:
                raise BadFrame(f"a frame of {length} bytes is too large")
            end = start + _LENGTH.size + length
            if len(pending) < end:
                break
            bodies.append(bytes(pending[start + _LENGTH.size : end]))
            start = end
        if start:
            del pending[:start]
        return bodies
