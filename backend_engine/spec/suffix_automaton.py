"""The suffix automaton: where any substring of a growing token sequence last stood.

Source: Blumer et al., The smallest automaton recognizing the subwords of a text (1985). A state stands for
a set of substrings that end at the same places; its link leads to the longest shorter suffix that also ends
elsewhere. There are at most two states a token, about 0.4 KB a token in Python. Each state counts its
places, so that what follows a substring most often is known as well.
"""

from __future__ import annotations

SEPARATOR = -1
"""Stands between texts; no token has this id, so that no match and no continuation crosses it."""

_REFRESHED = 16
"""States whose latest place and count a token updates. Repetitive text has chains as long as itself."""

_MOST_BRANCHES = 32
"""Different tokens after a substring beyond which none of them is likely enough to look for."""


class SuffixAutomaton:
    """All substrings of `tokens`, found in one dictionary look-up a token."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._next: list[dict[int, int]] = [{}]
        self._link: list[int] = [-1]
        self._length: list[int] = [0]
        self._end: list[int] = [-1]
        self._count: list[int] = [0]
        self._last = 0

    def extend(self, token: int) -> None:
        """Append one token; amortised constant time."""
        position = len(self.tokens)
        # Only now: until a token follows, the latest place of the last substrings has no continuation.
        self._refresh(self._link[self._last], position - 1)
        self.tokens.append(token)
        new = self._state({}, 0, self._length[self._last] + 1, position, 1)
        state = self._last
        while state >= 0 and token not in self._next[state]:
            self._next[state][token] = new
            state = self._link[state]
        if state >= 0:
            self._link[new] = self._split(state, token)
        self._last = new

    def repeated_suffix(self) -> tuple[int, int]:
        """Return the length of the longest suffix that also stands earlier, and its state."""
        state = max(self._link[self._last], 0)
        return self._length[state], state

    def continuation(
        self, state: int, limit: int, least: float = 0.0
    ) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Return up to `limit` tokens that followed `state` most often, of equals the latest.

        And of each token its share: the times that it followed those before it, over all times and half a
        one, so that what happened once is not taken for what always happens. It ends at a separator, where
        too much has followed to tell, and before less than `least` of all places went on so.
        """
        counts, ends = self._count, self._end
        tokens: list[int] = []
        shares: list[float] = []
        so_far = 1.0
        while len(tokens) < limit and 0 < len(following := self._next[state]) <= _MOST_BRANCHES:
            total, best, token = 0, -1, SEPARATOR
            for other, then in following.items():
                total += counts[then]
                if best < 0 or (counts[then], ends[then]) > (counts[best], ends[best]):
                    best, token = then, other
            so_far *= counts[best] / total
            if token == SEPARATOR or so_far < least:
                break
            tokens.append(token)
            shares.append(counts[best] / (total + 0.5))
            state = best
        return tuple(tokens), tuple(shares)

    def _state(self, transitions: dict[int, int], link: int, length: int, end: int, count: int) -> int:
        self._next.append(transitions)
        self._link.append(link)
        self._length.append(length)
        self._end.append(end)
        self._count.append(count)
        return len(self._link) - 1

    def _split(self, state: int, token: int) -> int:
        """Return the state of exactly `state`'s longest string and `token`, made if need be."""
        target = self._next[state][token]
        length = self._length[state] + 1
        if self._length[target] == length:
            return target
        clone = self._state(
            dict(self._next[target]), self._link[target], length, self._end[target], self._count[target]
        )
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
            self._count[state] += 1
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
    def state(self) -> int:
        """The automaton's state of the matched suffix, 0 if nothing matches."""
        self._settle()
        return self._state

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
