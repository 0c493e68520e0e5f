"""Reference profiles: bins that fit the values."""

import math
from itertools import pairwise

import numpy as np
import pytest

from libs.statistics.profiles import INNER_BINS, build_reference, reference_of_counts
from libs.statistics.value_counts import ValueCounts
from schemas.versions import MAX_BINS, ReferenceProfile

RNG = np.random.default_rng(7)


def test_quantile_bins() -> None:
    """A continuous feature gets twenty bins of nearly equal share between two empty open ones."""
    (feature,) = build_reference({"x": RNG.normal(size=10_000).tolist()}, score=None).features
    assert feature.counts[0] == feature.counts[-1] == 0
    assert len(feature.counts) == len(feature.edges) + 1 == INNER_BINS + 2 <= MAX_BINS
    assert all(abs(count - 500) < 40 for count in feature.counts[1:-1])
    assert feature.mean == pytest.approx(0, abs=0.05)
    assert feature.variance == pytest.approx(1, abs=0.05)


def test_few_values_get_a_bin_each() -> None:
    """Up to twenty distinct values are counted apart."""
    (feature,) = build_reference({"pixel": [0.0] * 90 + [1.0] * 6 + [16.0] * 4}, score=None).features
    assert feature.counts == (0, 90, 6, 4, 0)
    assert feature.edges[1:3] == (0.0, 1.0)


def test_ties_are_not_split() -> None:
    """A value that half of the sample has is one bin; the rest is cut into fewer."""
    values = [0.0] * 5_000 + RNG.lognormal(0, 2, 5_000).tolist()
    (feature,) = build_reference({"x": values}, score=None).features
    assert max(feature.counts) == 5_000
    assert sum(feature.counts) == 10_000
    assert len(feature.counts) == INNER_BINS // 2 + 1 + 2


def test_constant_feature() -> None:
    """A constant has one bin, with open ones on both sides, whatever its size."""
    for value in (0.0, -1e12, 293.15):
        (feature,) = build_reference({"x": [value] * 10}, score=None).features
        assert feature.counts == (0, 10, 0)
        assert feature.edges[0] < value < feature.edges[1]
        assert feature.variance == 0.0


def test_counts_lie_between_their_edges() -> None:
    """`counts[i]` is the number of values in (edges[i-1], edges[i]], as the contract says."""
    values = RNG.gamma(2, 3, 3_000)
    (feature,) = build_reference({"x": values.tolist()}, score=None).features
    edges = [-math.inf, *feature.edges, math.inf]
    expected = [int(((low < values) & (values <= high)).sum()) for low, high in pairwise(edges)]
    assert list(feature.counts) == expected


def test_profile_is_a_record() -> None:
    """A profile survives JSON, features in the order of their names, the score with it."""
    profile = build_reference({"b": [1.0, 2.0], "a": [1.0, math.nan], "empty": [math.nan]}, score=0.9)
    assert [each.feature for each in profile.features] == ["a", "b"]
    assert (profile.predictions, profile.score) == (2, 0.9)
    assert ReferenceProfile.model_validate_json(profile.to_json()) == profile


def test_profile_of_partitions() -> None:
    """Histograms of parts, merged, give the profile of the whole."""
    values = RNG.integers(0, 17, 1_000).astype(float).tolist()
    counts = ValueCounts.of(values[:300])
    counts.merge(ValueCounts.of(values[300:]))
    whole = build_reference({"x": values}, score=None)
    assert reference_of_counts({"x": counts}, predictions=1_000, score=None) == whole


def test_nothing_is_no_profile() -> None:
    """Without any finite number there is no reference."""
    nothing: list[dict[str, list[float]]] = [{}, {"x": []}, {"x": [math.inf]}]
    for features in nothing:
        with pytest.raises(ValueError, match="at least one numeric"):
            build_reference(features, score=None)
