"""The merge list that a SentencePiece BPE vocabulary implies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def merges_from_scores(
    vocab: Mapping[str, int], scores: Sequence[float], never: Collection[int]
) -> list[tuple[str, str]]:
    """Return every split of a token into two tokens, best-scored result first.

    SentencePiece merges the neighbours whose union has the best score; BPE takes the first rule of its
    list. Equal scores are ordered as in `transformers`. Tokens in `never` are no text (`</s>`, `<0x0A>`):
    no sequence of characters may add up to them.
    """
    merges: list[tuple[float, int, int, int, str, str]] = []
    for token, token_id in vocab.items():
        if token_id in never:
            continue
        splits = [(token[:at], token[at:]) for at in range(1, len(token))]
        known = [(left, right) for left, right in splits if left in vocab and right in vocab]
        known.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
        for order, (left, right) in enumerate(known):
            merges.append((scores[token_id], len(left), len(right), order, left, right))
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    return [merge[4:] for merge in merges]
