"""The answers of a route's tiers to one request, as they pass."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.answer import Events
from semantic_cache.assemble import Recording, assemble
from semantic_cache.errors import NotReplayable

_MOST_BYTES = 1 << 18
"""A longer answer is compared with no other."""


class Watched:
    """What each tier said, by the model's name."""

    __slots__ = ("_streams", "_whole", "signs")

    def __init__(self) -> None:
        self.signs: Mapping[str, float] | None = None
        """What was known of the query when it was decided."""
        self._whole: dict[str, bytes] = {}
        self._streams: dict[str, Recording] = {}

    def whole(self, model: str, body: bytes) -> None:
        """Take a whole answer."""
        if len(body) <= _MOST_BYTES:
            self._whole[model] = body

    def stream(self, model: str) -> RecordingTap:
        """Return what takes a stream in while it passes."""
        recording = self._streams[model] = Recording(_MOST_BYTES)
        return RecordingTap(recording)

    def answers(self) -> dict[str, bytes]:
        """Return the complete answers as JSON."""
        found = dict(self._whole)
        for model, recording in self._streams.items():
            if recording.complete and not recording.too_large:
                try:
                    found[model] = assemble("chat", recording.chunks)
                except NotReplayable:
                    continue
        return found


class RecordingTap:
    """Keeps a stream's data while it passes."""

    __slots__ = ("_recording",)

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def feed(self, events: Events) -> Events:
        for event in events:
            if event.data is not None:
                self._recording.feed(event.data)
        return events

    def finish(self) -> Events:
        return []

    def ended(self, error: BaseException | None) -> None:
        """Whether it came to its end, the recording knows."""
