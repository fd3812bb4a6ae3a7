"""The suffix automaton: where any substring of a growing token sequence last stood.

Source: Blumer et al., The smallest automaton recognizing the subwords of a text (1985). A state stands for
a set of substrings that end at the same places; its link leads to the longest shorter suffix that also ends
elsewhere. There are at most two states a token, about 0.4 KB a token in Python.
"""

from __future__ import annotations

SEPARATOR = -1
"""Stands between texts; no token has this id, so that no match and no continuation crosses it."""

_REFRESHED = 16
"""States whose latest place is updated for a token. Repetitive text has chains as long as itself."""


class SuffixAutomaton:
    """All substrings of `tokens`, found in one dictionary look-up a token."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._next: list[dict[int, int]] = [{}]
        self._link: list[int] = [-1]
        self._length: list[int] = [0]
        self._end: list[int] = [-1]
        self._last = 0

    def extend(self, token: int) -> None:
        """Append one token; amortised constant time."""
        position = len(self.tokens)
        # Only now: until a token follows, the latest place of the last substrings has no continuation.
        self._refresh(self._link[self._last], position - 1)
        self.tokens.append(token)
        new = self._state({}, 0, self._length[self._last] + 1, position)
        state = self._last
        while state >= 0 and token not in self._next[state]:
            self._next[state][token] = new
            state = self._link[state]
        if state >= 0:
            self._link[new] = self._split(state, token)
        self._last = new

    def repeated_suffix(self) -> tuple[int, int]:
        """Return the length of the longest suffix that also stands earlier, and where it ends there."""
        state = max(self._link[self._last], 0)
        return self._length[state], self._end[state]

    def continuation(self, end: int, limit: int) -> tuple[int, ...]:
        """Return up to `limit` tokens after position `end`, none beyond a separator."""
        tokens = self.tokens[end + 1 : end + 1 + limit]
        if SEPARATOR in tokens:
            del tokens[tokens.index(SEPARATOR) :]
        return tuple(tokens)

    def _state(self, transitions: dict[int, int], link: int, length: int, end: int) -> int:
        self._next.append(transitions)
        self._link.append(link)
        self._length.append(length)
        self._end.append(end)
        return len(self._link) - 1

    def _split(self, state: int, token: int) -> int:
        """Return the state of exactly `state`'s longest string and `token`, made if need be."""
        target = self._next[state][token]
        length = self._length[state] + 1
        if self._length[target] == length:
            return target
        clone = self._state(dict(self._next[target]), self._link[target], length, self._end[target])
        self._link[target] = clone
        while state >= 0 and self._next[state].get(token) == target:
            self._next[state][token] = clone
            state = self._link[state]
        return clone

    def _refresh(self, state: int, position: int) -> None:
        for _ in range(_REFRESHED):
            if state <= 0:
                return
            self._end[state] = position
            state = self._link[state]


class Cursor:
    """Follows another text through an automaton: the longest suffix of it that stands there.

    The automaton may grow meanwhile.
    """

    def __init__(self, automaton: SuffixAutomaton) -> None:
        self.automaton = automaton
        self.matched = 0
        """Tokens of the text's end that stand in the automaton together."""
        self._state = 0

    @property
    def end(self) -> int:
        """Position in the automaton's tokens where the matched suffix ends, -1 if nothing matches."""
        self._settle()
        return self.automaton._end[self._state]

    def advance(self, token: int) -> None:
        """Append one token to the text."""
        links, lengths, following = (
            self.automaton._link,
            self.automaton._length,
            self.automaton._next,
        )
        self._settle()
        while self._state and token not in following[self._state]:
            self._state = links[self._state]
            self.matched = lengths[self._state]
        if token in following[self._state]:
            self._state = following[self._state][token]
            self.matched += 1

    def _settle(self) -> None:
        """Move to where the automaton has split the matched suffix off from longer ones."""
        links, lengths = self.automaton._link, self.automaton._length
        while self._state and lengths[links[self._state]] >= self.matched:
            self._state = links[self._state]
