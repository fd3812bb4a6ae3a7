"""The lists of rows against a dictionary of lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.index.scopes import ScopeRows

changes = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 1 << 30)), max_size=300)


@given(changes)
def test_lists_hold_what_was_added_and_not_removed(steps: list[tuple[bool, int, int]]) -> None:
    lists = ScopeRows()
    model: dict[bytes, list[int]] = {}
    for row, (adds, name, where) in enumerate(steps):
        scope = bytes([name]) * 32
        if adds:
            number, place = lists.add(scope, row)
            model.setdefault(scope, []).append(row)
            assert lists.number(scope) == number
            assert lists.rows(number)[place] == row
        elif scope in model:
            rows = model[scope]
            place = where % len(rows)
            number = lists.number(scope)
            assert number is not None
            assert lists.remove(number, place) == rows[-1]
            rows[place] = rows[-1]
            rows.pop()
            if not rows:
                del model[scope]
        assert set(lists) == set(model)
        assert len(lists) == len(model)
        for known, rows in model.items():
            number = lists.number(known)
            assert number is not None
            assert lists.count(number) == len(rows)
            assert lists.rows(number).tolist() == rows


def test_runs_of_emptied_scopes_are_used_again() -> None:
    lists = ScopeRows()
    for scope in range(1000):
        for row in range(10):
            lists.add(scope.to_bytes(32, "big"), row)
    full = lists.nbytes
    for _ in range(3):
        for scope in range(1000):
            number = lists.number(scope.to_bytes(32, "big"))
            assert number is not None
            for place in reversed(range(10)):
                lists.remove(number, place)
        assert len(lists) == 0
        for scope in range(1000):
            for row in range(10):
                lists.add(scope.to_bytes(32, "little"), row)
        assert lists.nbytes == full
        for scope in range(1000):
            number = lists.number(scope.to_bytes(32, "little"))
            assert number is not None
            for place in reversed(range(10)):
                lists.remove(number, place)
        for scope in range(1000):
            for row in range(10):
                lists.add(scope.to_bytes(32, "big"), row)
