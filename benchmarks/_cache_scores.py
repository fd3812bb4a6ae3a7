"""What is counted of a cache on labelled pairs and streams, with bounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks._cache_data import LabelledPair
from semantic_cache.decision.bounds import lower_bound, upper_bound


def figures(pairs: Sequence[LabelledPair], accepted: Sequence[bool], *, grouped: bool) -> dict[str, Any]:
    """Count hits, wrong hits and lost hits.

    `recall` is of the pairs with the same answer, `wrong_rate` of those with a different one, `precision`
    of hits; bounds are one-sided 95% (Clopper and Pearson) and take pairs as independent, which those of a
    group are not.
    """
    same = sum(pair.same for pair in pairs)
    different = len(pairs) - same
    right = sum(took and pair.same for pair, took in zip(pairs, accepted, strict=True))
    hits = sum(accepted)
    wrong = hits - right
    out: dict[str, Any] = {
        "same": same,
        "different": different,
        "hits": hits,
        "wrong": wrong,
        "recall": _share(right, same),
        "wrong_rate": _share(wrong, different),
        "wrong_rate_upper95": round(upper_bound(wrong, different), 4) if different else None,
        "precision": _share(right, hits),
        "precision_lower95": round(lower_bound(right, hits), 4) if hits else None,
    }
    if grouped:
        members: dict[str, list[int]] = defaultdict(list)
        for row, pair in enumerate(pairs):
            members[pair.group].append(row)
        out["groups"] = {
            group: figures([pairs[row] for row in rows], [accepted[row] for row in rows], grouped=False)
            | {"unseen": pairs[rows[0]].unseen}
            for group, rows in sorted(members.items())
        }
        for half in (False, True):
            rows = [row for row, pair in enumerate(pairs) if pair.unseen is half]
            out["unseen" if half else "seen"] = figures(
                [pairs[row] for row in rows], [accepted[row] for row in rows], grouped=False
            )
    return out


def stream_figures(
    hits: Sequence[bool], wrong: Sequence[bool], bounds: Sequence[float | None], parts: int = 4
) -> dict[str, Any]:
    """Count hits and wrong hits over time: of all questions, per hit, and in each quarter.

    `bounds` are what the cache itself said of each hit: the most that P(wrong) may be; None if nothing.
    """
    total, bad = sum(hits), sum(wrong)
    size = len(hits) // parts
    quarters = [slice(i * size, (i + 1) * size) for i in range(parts)]
    claimed = [bound for bound in bounds if bound is not None]
    return {
        "questions": len(hits),
        "hit_rate": _share(total, len(hits)),
        "wrong_hit_rate": _share(bad, len(hits)),
        "wrong_per_hit": _share(bad, total),
        "wrong_per_hit_upper95": round(upper_bound(bad, total), 4) if total else None,
        "hit_rate_by_quarter": [_share(sum(hits[q]), size) for q in quarters],
        "hits_by_quarter": [sum(hits[q]) for q in quarters],
        "wrong_by_quarter": [sum(wrong[q]) for q in quarters],
        "wrong_per_hit_by_quarter": [_share(sum(wrong[q]), sum(hits[q])) for q in quarters],
    } | (
        {"claimed_bound": _mean(claimed), "claimed_bound_by_quarter": [_mean(bounds[q]) for q in quarters]}
        if claimed
        else {}
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 5) if known else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
