"""Purges by epochs: what is dead, against a model that looks at every answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semantic_cache.epochs import Epochs, decode_epochs, encode_epochs

MODELS, TAGS = ("a", "b"), ("x", "y", "z")
PURGES = st.one_of(
    st.builds(dict),
    st.builds(dict, model=st.sampled_from(MODELS)),
    st.builds(dict, tag=st.sampled_from(TAGS)),
    st.builds(dict, before=st.integers(0, 12)),
)
ANSWERS = st.tuples(st.sampled_from(MODELS), st.sets(st.sampled_from(TAGS)))


@given(st.lists(st.one_of(ANSWERS, PURGES), max_size=30))
def test_a_purge_means_what_was_asked_for_before_it_and_nothing_else(steps: list[object]) -> None:
    epochs = Epochs()
    kept: list[tuple[int, str, set[str], bool]] = []
    for step in steps:
        if isinstance(step, tuple):
            kept.append((epochs.now, step[0], step[1], False))
            continue
        assert isinstance(step, dict)
        kept = [
            (
                epoch,
                model,
                tags,
                dead
                or (
                    step.get("model") in (None, model)
                    and ("tag" not in step or step["tag"] in tags)
                    and ("before" not in step or epoch < step["before"])
                ),
            )
            for epoch, model, tags, dead in kept
        ]
        epochs = decode_epochs(encode_epochs(epochs.purged(**step)))
    for epoch, model, tags, dead in kept:
        assert epochs.dead(epoch, model, tags) is dead


def test_an_answer_of_the_epoch_of_now_is_never_dead() -> None:
    epochs = Epochs()
    for number in range(600):
        epochs = epochs.purged(tag=f"tag {number}")
        assert not epochs.dead(epochs.now, "a", (f"tag {number}",))
    # However many are purged, what every read carries along stays small.
    assert len(encode_epochs(epochs)) < 10_000
    assert epochs.dead(0, "a", ("tag 0",)) and epochs.dead(0, "a", ("tag 599",))


def test_nothing_was_purged_of_a_tenant_that_nobody_knows() -> None:
    assert not decode_epochs(None).dead(0, "a", ("x",))
