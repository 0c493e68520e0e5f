"""Where units fall, and that they stay there."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trimtab
from trimtab.bucketing import bucket, pick, ranges

VECTORS: dict[str, Any] = json.loads((Path(trimtab.__file__).parent / "vectors.json").read_text())
WEIGHTS = st.lists(st.floats(0, 1_000_000, allow_nan=False), min_size=1, max_size=50).filter(
    lambda weights: sum(weights) > 0
)
COVERAGE = st.floats(0, 1)
PLACE = st.floats(0, 1, exclude_max=True)


def test_golden_buckets() -> None:
    """Every published bucket is found again, to the last bit."""
    for vector in VECTORS["buckets"]:
        assert bucket(vector["salt"], vector["unit_id"]) == vector["bucket"], vector
        assert (int(vector["first_8_bytes"], 16) >> 11) / 2**53 == vector["bucket"]


def test_golden_vectors_cover_the_hard_ids() -> None:
    """The vectors hold the empty id, ids of 256 characters, and ids beyond ASCII."""
    ids = {vector["unit_id"] for vector in VECTORS["buckets"]}
    assert "" in ids
    assert {len(each) for each in ids} >= {0, 256}
    assert sum(not each.isascii() for each in ids) >= 5


def test_golden_variants() -> None:
    """Every published choice of a variant is made again."""
    for vector in VECTORS["variants"]:
        owned = ranges(vector["weights"], vector["coverage"])
        assert pick(owned, bucket(vector["salt"], vector["unit_id"])) == vector["variant"], vector


@given(WEIGHTS, COVERAGE, COVERAGE, PLACE)
def test_raised_coverage_moves_nobody(weights: list[float], one: float, other: float, place: float) -> None:
    """Who has a variant at a coverage has the same one at every higher coverage."""
    low, high = sorted((one, other))
    before = pick(ranges(weights, low), place)
    if before is not None:
        assert pick(ranges(weights, high), place) == before


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


def test_shares_are_as_configured() -> None:
    """Among 20,000 units the shares of the variants are the configured ones, within four standard errors."""
    owned = ranges([3.0, 1.0], 0.4)
    found = [pick(owned, bucket("shares", f"user-{number}")) for number in range(20_000)]
    for index, expected in ((0, 0.3), (1, 0.1)):
        error = (expected * (1 - expected) / len(found)) ** 0.5
        assert abs(found.count(index) / len(found) - expected) < 4 * error


@pytest.mark.parametrize(
    ("weights", "coverage"),
    [([0.0, 0.0], 1.0), ([1.0, -1.0], 0.5), ([1.0], 1.1), ([1.0], -0.1), ([], 1.0), ([1.0], float("nan"))],
)
def test_nonsense_is_refused(weights: list[float], coverage: float) -> None:
    """Weights and coverages that define no ranges are refused."""
    with pytest.raises(ValueError, match="must"):
        ranges(weights, coverage)
