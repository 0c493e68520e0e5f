"""Where units fall, and that they stay there. The golden vectors have their own tests (test_vectors.py)."""

from collections import Counter
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
from growthbook.core import gbhash
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, chisquare

from trimtab.bucketing import Hashing, bucket, bucket_of, growthbook_v2, pick, place_by, ranges

WEIGHTS = st.lists(st.floats(0, 1_000_000, allow_nan=False), min_size=1, max_size=50).filter(
    lambda weights: sum(weights) > 0
)
COVERAGE = st.floats(0, 1)
PLACE = st.floats(0, 1, exclude_max=True)


@given(WEIGHTS, COVERAGE, COVERAGE, PLACE)
def test_raised_coverage_moves_nobody(weights: list[float], one: float, other: float, place: float) -> None:
    """Who has a variant at a coverage has the same one at every higher coverage."""
    low, high = sorted((one, other))
    before = pick(ranges(weights, low), place)
    if before is not None:
        assert pick(ranges(weights, high), place) == before


@given(WEIGHTS)
def test_ranges_tile_at_full_coverage(weights: list[float]) -> None:
    """At full coverage each range begins where the one before ends, from 0 to 1."""
    owned = ranges(weights, 1.0)
    assert (owned[0][0], owned[-1][1]) == (0.0, 1.0)
    assert all(left[1] == right[0] for left, right in pairwise(owned))


@given(WEIGHTS, COVERAGE)
def test_ranges_are_disjoint(weights: list[float], coverage: float) -> None:
    """No two variants own the same place, and none reaches outside [0, 1]."""
    owned = ranges(weights, coverage)
    assert all(0.0 <= low <= high <= 1.0 for low, high in owned)
    assert all(left[1] <= right[0] for left, right in pairwise(owned))


@given(WEIGHTS, PLACE)
def test_full_coverage_leaves_nobody_out(weights: list[float], place: float) -> None:
    """At full coverage every unit has a variant, and one with a positive weight."""
    index = pick(ranges(weights, 1.0), place)
    assert index is not None
    assert weights[index] > 0


@given(WEIGHTS, PLACE)
def test_no_coverage_takes_nobody(weights: list[float], place: float) -> None:
    """At coverage 0 nobody takes part."""
    assert pick(ranges(weights, 0.0), place) is None


@given(st.text(max_size=256), st.text(max_size=300))
def test_any_text_has_a_bucket(salt: str, unit_id: str) -> None:
    """Every text has a place in [0, 1)."""
    assert 0.0 <= bucket(salt, unit_id) < 1.0


def test_lone_surrogate_has_a_bucket() -> None:
    """Text that is no valid UTF-8 is hashed, not refused: assigning never raises."""
    assert 0.0 <= bucket("salt", "\ud800") < 1.0


@given(st.text(max_size=64), st.text(max_size=256))
def test_growthbooks_hash_is_growthbooks(seed: str, unit_id: str) -> None:
    """The compatible hash is GrowthBook's for any text, characters beyond 16 bits included."""
    assert growthbook_v2(seed, unit_id) == gbhash(seed, unit_id, 2)


@pytest.mark.parametrize(
    "text", ["x\ud83e\udd89", "\U0001f989", "\ud83e", "\udd89\ud83e", "\uffff", "\u00ff", "\x00"]
)
def test_growthbooks_hash_takes_units_of_16_bits(text: str) -> None:
    """A character of two UTF-16 units counts as these two, and half of one as one; in seed and id alike."""
    units = text.encode("utf-16-be", "surrogatepass")
    first = 0x811C9DC5
    for high, low in zip(units[::2], units[1::2], strict=True):
        first = (first ^ (high << 8 | low)) * 0x01000193 % 2**32
    second = 0x811C9DC5
    for digit in str(first):
        second = (second ^ ord(digit)) * 0x01000193 % 2**32
    for cut in range(len(text) + 1):
        assert growthbook_v2(text[:cut], text[cut:]) == second % 10_000 / 10_000


@given(st.sampled_from(["trimtab", "growthbook_v2"]), st.text(max_size=20), st.text(max_size=40))
def test_a_prepared_hash_is_the_hash(hashing: Hashing, salt: str, unit_id: str) -> None:
    """Preparing a salt once changes no place."""
    assert place_by(hashing, salt)(unit_id) == bucket_of(hashing, salt, unit_id)


UNITS = 100_000
RARE = 1e-6
"""Ids and salts are fixed, so these tests never change their minds; of fair hashes one in a million fails."""


@cache
def places(hashing: Hashing, salt: str) -> NDArray[np.float64]:
    """Return the places of 100,000 units with running numbers."""
    place = place_by(hashing, salt)
    return np.array([place(f"user-{number}") for number in range(UNITS)])


@pytest.mark.parametrize("hashing", ["trimtab", "growthbook_v2"])
@pytest.mark.parametrize("salt", ["checkout", "digits-v2"])
def test_shares_are_as_configured(hashing: Hashing, salt: str) -> None:
    """Among 100,000 units the shares of the variants, and of those outside, are the configured ones."""
    owned = ranges([5.0, 3.0, 2.0, 0.1], 0.4)
    found = Counter(pick(owned, place) for place in places(hashing, salt).tolist())
    expected = [(high - low) * UNITS for low, high in owned] + [0.6 * UNITS]
    assert chisquare([found[key] for key in (0, 1, 2, 3, None)], expected).pvalue > RARE


@pytest.mark.parametrize("hashing", ["trimtab", "growthbook_v2"])
@pytest.mark.parametrize("salt", ["checkout", "group:checkout", "holdout:checkout"])
def test_places_are_even(hashing: Hashing, salt: str) -> None:
    """A hundred equal parts of [0, 1) hold equally many units."""
    assert chisquare(np.histogram(places(hashing, salt), 100, (0.0, 1.0))[0]).pvalue > RARE


SALTS: list[tuple[Hashing, str]] = [
    ("trimtab", "checkout"),
    ("trimtab", "digits-v2"),
    ("growthbook_v2", "checkout"),
    ("growthbook_v2", "digits-v2"),
    ("growthbook_v2", "group:checkout"),
    ("growthbook_v2", "group:checkout-2"),
    ("growthbook_v2", "holdout:checkout"),
]


@pytest.mark.parametrize(("one", "other"), list(combinations(SALTS, 2)))
def test_places_by_different_salts_are_independent(
    one: tuple[Hashing, str], other: tuple[Hashing, str]
) -> None:
    """What a unit gets by one salt says nothing of what it gets by another: experiments, groups, holdouts."""
    table = np.histogram2d(places(*one), places(*other), 10, ((0.0, 1.0), (0.0, 1.0)))[0]
    assert chi2_contingency(table).pvalue > RARE


@pytest.mark.parametrize(
    ("weights", "coverage"),
    [
        ([0.0, 0.0], 1.0),
        ([1.0, -1.0], 0.5),
        ([1.0], 1.1),
        ([1.0], -0.1),
        ([], 1.0),
        ([1.0], float("nan")),
        ([float("inf"), 1.0], 1.0),
        ([1e308] * 2, 1.0),
    ],
)
def test_nonsense_is_refused(weights: list[float], coverage: float) -> None:
    """Weights and coverages that define no ranges are refused."""
    with pytest.raises(ValueError, match="must"):
        ranges(weights, coverage)
