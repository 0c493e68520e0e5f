"""Reference profiles: what a model's inputs looked like when all was well, in a few counts per feature.

A feature's bins have equal shares of the values where the values allow it (quantile bins). Few distinct
values get a bin each, ties are never split, and beyond either end lies an open bin with count 0, so that a
constant feature that starts to move is seen.
"""

import math
from collections.abc import Mapping, Sequence

from libs.statistics.value_counts import ValueCounts
from schemas.versions import FeatureReference, ReferenceProfile

INNER_BINS = 20
"""Bins between the two open ends."""
REFERENCE_LIMIT = 4_096
"""Bins of the histogram that a reference is cut from when the values themselves are at hand."""


def build_reference(features: Mapping[str, Sequence[float]], *, score: float | None) -> ReferenceProfile:
    """Return the profile of a sample: `features` maps each numeric feature to its values, one per prediction.

    Features may differ in how many values they have (missing ones are left out); numbers that are not finite
    are left out too, and so is a feature that has no finite number. `score` is the accuracy on the same
    sample, None where no labels were there. Raises ValueError when no feature has a value.
    """
    counted = {
        name: ValueCounts.of(
            (float(value) for value in values if math.isfinite(value)), limit=REFERENCE_LIMIT
        )
        for name, values in features.items()
    }
    predictions = max((len(values) for values in features.values()), default=0)
    return reference_of_counts(counted, predictions=predictions, score=score)


def reference_of_counts(
    features: Mapping[str, ValueCounts], *, predictions: int, score: float | None
) -> ReferenceProfile:
    """Return the profile of histograms, as `build_reference` does of values.

    Mean and variance then are those of the bins' upper ends where a histogram is no longer exact.
    """
    filled = {name: counts for name, counts in features.items() if counts.total}
    if not filled:
        raise ValueError("a reference needs at least one numeric feature with a finite value")
    references = tuple(_feature_reference(name, filled[name]) for name in sorted(filled))
    return ReferenceProfile(predictions=predictions, features=references, score=score)


def _feature_reference(name: str, counts: ValueCounts) -> FeatureReference:
    below, above = counts.bounds()
    edges, binned = _inner_bins(counts)
    mean = math.fsum(each.high * each.held for each in counts.bins()) / counts.total
    squares = math.fsum((each.high - mean) ** 2 * each.held for each in counts.bins())
    variance = squares / (counts.total - 1) if counts.total > 1 else 0.0
    return FeatureReference(
        feature=name, edges=(below, *edges, above), counts=(0, *binned, 0), mean=mean, variance=variance
    )


def _inner_bins(counts: ValueCounts) -> tuple[list[float], list[int]]:
    """Cut where the rank passes into another of the equal shares; the last bin has no edge of its own."""
    bins = counts.bins()
    shares = INNER_BINS if len(bins) > INNER_BINS else len(bins)
    edges: list[float] = []
    binned: list[int] = []
    rank = waiting = 0
    for each in bins:
        share = rank * shares // counts.total
        rank += each.held
        waiting += each.held
        if rank * shares // counts.total > share or shares == len(bins):
            edges.append(each.high)
            binned.append(waiting)
            waiting = 0
    return edges[:-1], binned
