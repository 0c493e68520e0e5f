"""How far a feature has moved from its reference, and whether so few values can tell.

Both numbers are computed on the reference's bins. A histogram that is coarser than these (many distinct
values) has bins that straddle an edge: PSI spreads them evenly, the Kolmogorov-Smirnov statistic takes the
benefit of the doubt, so that it can only be too small.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.statistics.value_counts import ValueCounts
from schemas.versions import FeatureReference

PSI_BINS = 10
PSI_EPSILON = 1e-4
DKW_EQUAL_SIZES = 458
"""From this size on Massart's constant 2 holds for two samples of equal size (Wei and Dudley 2012)."""

Floats = NDArray[np.float64]


class Shift(NamedTuple):
    """One feature against its reference. `psi_by_chance` is what PSI is on average when nothing moved."""

    values: int
    psi: float
    psi_by_chance: float
    ks: float
    ks_p_value: float


def shift_of(reference: FeatureReference, current: ValueCounts) -> Shift:
    """Return the shift of `current` from `reference`. Raises ValueError when either of them is empty."""
    counts = np.asarray(reference.counts, dtype=np.float64)
    n, m = int(counts.sum()), current.total
    if not n or not m:
        raise ValueError("both the reference and the window need at least one value")
    sure, likely, possible = _below(current, np.asarray(reference.edges, dtype=np.float64))
    ks = _ks(counts.cumsum()[:-1] / n, sure / m, possible / m)
    groups = quantile_groups(reference.counts)
    now = np.diff(likely, prepend=0.0, append=float(m))
    psi = population_stability_index(np.add.reduceat(counts, groups), np.add.reduceat(now, groups))
    return Shift(m, psi, psi_by_chance(len(groups), n, m), ks, ks_p_value(ks, n, m))


def population_stability_index(reference: Floats, current: Floats) -> float:
    """Return Σ (q - p) ln(q / p) over bins, p and q the shares of two vectors of counts.

    Shares are smoothed as (share + ε) / (1 + Bε), ε = 1e-4, so that an empty bin gives a large number, never
    infinity. Symmetric, not negative, 0 for equal shares; it has no scale of its own (0.2 is the custom).
    """
    p, q = _smooth(reference), _smooth(current)
    return float(np.sum((q - p) * np.log(q / p)))


def psi_by_chance(bins: int, reference_size: int, current_size: int) -> float:
    """Return the mean of PSI when both samples come from one distribution: about (B-1)(1/n + 1/m)."""
    return (bins - 1) * (1 / reference_size + 1 / current_size)


def ks_p_value(ks: float, reference_size: int, current_size: int) -> float:
    """Return a bound on the probability of a two-sample KS statistic this large when nothing moved.

    Massart's constant for two samples: C exp(-2 D² nm/(n+m)) with C = 2, or e for equal sizes below 458
    (Wei and Dudley, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities", 2012; for unequal sizes above 200
    they conjecture it). Holds at finite sizes; ties and bins only make the true probability smaller.
    """
    constant = math.e if reference_size == current_size < DKW_EQUAL_SIZES else 2.0
    effective = reference_size * current_size / (reference_size + current_size)
    return min(1.0, constant * math.exp(-2 * ks * ks * effective))


def quantile_groups(counts: tuple[int, ...], *, groups: int = PSI_BINS) -> list[int]:
    """Return where groups of neighbouring bins start so that each holds about 1/`groups` of the values.

    A group is closed as soon as it holds its share; what is left over at the end joins the last one. A
    feature with fewer than two groups (nearly constant) keeps its bins apart: joined, they would hide every
    move.
    """
    share = sum(counts) / groups
    starts, held = [0], 0
    for place, count in enumerate(counts):
        if held >= share:
            starts.append(place)
            held = 0
        held += count
    if held < share and len(starts) > 1:
        starts.pop()
    return starts if len(starts) > 1 else list(range(len(counts)))


def _smooth(counts: Floats) -> Floats:
    shares: Floats = (counts / counts.sum() + PSI_EPSILON) / (1 + len(counts) * PSI_EPSILON)
    return shares


def _below(current: ValueCounts, edges: Floats) -> tuple[Floats, Floats, Floats]:
    """How many values lie at or under each edge: for sure, likely, at most."""
    bins = current.bins()
    beyond = float(np.finfo(np.float64).max)
    low = np.array([*(each.low for each in bins), beyond])
    high = np.array([*(each.high for each in bins), beyond])
    held = np.array([each.held for each in bins] + [0], dtype=np.float64)
    place = np.searchsorted(high[:-1], edges, side="right")
    sure = np.concatenate(([0.0], held.cumsum()))[place]
    straddles = low[place] < edges
    width = np.where(straddles, high[place] - low[place], 1.0)
    part = np.where(straddles, edges - np.where(straddles, low[place], edges), 0.0) / width
    return sure, sure + held[place] * part, sure + held[place] * straddles


def _ks(reference: Floats, sure: Floats, possible: Floats) -> float:
    gaps = np.maximum(np.maximum(sure - reference, reference - possible), 0.0)
    return float(gaps.max(initial=0.0))
