"""When a fresh answer agrees with a stored one."""

import pytest

from semantic_cache.decision.label import agree


@pytest.mark.parametrize(
    ("stored", "fresh", "cosine", "label"),
    [
        ("The gate is blue.", "the gate is blue", None, True),
        ("Yes, it floats.", "No, it sinks.", 0.97, False),
        ("3 + 4 = 7, so 7 crates.", "3 + 5 = 8, so 8 crates.", 0.99, False),
        ("It takes a dozen.", "It takes 12.", 0.95, True),
        ("It is safe.", "It is not safe.", 0.98, False),
        ("Boil it in salted water.", "Use salted water and boil it.", 0.95, True),
        ("Boil it in salted water.", "Ask the harbour master.", 0.1, False),
        ("Boil it in salted water.", "Cook it for a while.", 0.82, None),
        ("Boil it in salted water.", "Cook it for a while.", None, None),
    ],
)
def test_labels(stored: str, fresh: str, cosine: float | None, label: bool | None) -> None:
    assert agree(stored, fresh, cosine) is label
