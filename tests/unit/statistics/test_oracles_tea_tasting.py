"""tea-tasting on the same aggregates: means, ratios, CUPED.

Where we agree: differences, their p-values and degrees of freedom, ratios by the delta method. Where not, and
who is right:

* relative lift: tea-tasting's interval is symmetric on the scale of ln(m1 / m0), ours on that of m1 / m0 - 1.
  Both are the delta method with the control's variance in it and the same degrees of freedom; neither is
  wrong, they tend to each other. For a control near 0 neither holds: that is what Fieller is for. Its p-value
  is that of the difference; ours belongs to the interval of the lift.
* CUPED: its slope is over both variants together, as in gbstats; ours is within the variants. On data without
  an effect and with equal x̄ they agree; otherwise ours is right.
"""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tea_tasting.aggr import Aggregates
from tea_tasting.metrics import Mean, RatioOfMeans
from tea_tasting.metrics.mean import MeanResult

from libs.statistics.cuped import Adjustment, adjusted_arm, adjustment
from libs.statistics.differences import Arms, NotEnough
from libs.statistics.fixed_horizon import Fixed, mean_arms, welch, welch_lift
from libs.statistics.pairs import exact_pairs
from libs.statistics.ratios import ratio_arms
from libs.statistics.sums import Sums

PAIRS = st.lists(
    st.tuples(st.integers(1, 500).map(float), st.integers(1, 100).map(float)), min_size=4, max_size=40
)
Pairs = list[tuple[float, float]]


def aggregates(pairs: Pairs) -> Aggregates:
    """Return what tea-tasting knows of a variant."""
    y, x = (np.array(column) for column in zip(*pairs, strict=True))
    covariance = np.cov(x, y)
    return Aggregates(
        count_=len(pairs),
        mean_={"x": float(x.mean()), "y": float(y.mean())},
        var_={"x": float(covariance[0, 0]), "y": float(covariance[1, 1])},
        cov_={("x", "y"): float(covariance[0, 1])},
    )


def fixed(found: Fixed | NotEnough) -> Fixed:
    """Return the result, which there must be."""
    assert isinstance(found, Fixed)
    return found


def same(both: Arms | NotEnough, theirs: MeanResult) -> None:
    """Assert that difference and lift agree, the latter's interval once it is on their scale."""
    assert isinstance(both, Arms)
    found, lift = fixed(welch(both)), fixed(welch_lift(both))
    ends = (theirs.effect_size_ci_lower, theirs.effect_size_ci_upper)
    assert (found.lower, found.upper) == pytest.approx(ends, rel=1e-7, abs=1e-9)
    assert math.exp(found.log_p) == pytest.approx(theirs.pvalue, rel=1e-7)
    assert lift.estimate == pytest.approx(theirs.rel_effect_size, rel=1e-9, abs=1e-12)
    ratio = 1.0 + lift.estimate
    on_their_scale = ratio * math.exp((lift.upper - lift.estimate) / ratio) - 1.0
    assert on_their_scale == pytest.approx(theirs.rel_effect_size_ci_upper, rel=1e-6, abs=1e-9)


@given(PAIRS, PAIRS)
def test_means_agree(one: Pairs, zero: Pairs) -> None:
    """Difference, p-value and lift of drawn samples, wherever either varies."""
    assume(len({y for y, _ in one}) > 1 and len({y for y, _ in zero}) > 1)
    theirs = Mean("y", equal_var=False, use_t=True).analyze_aggregates(aggregates(zero), aggregates(one))
    same(mean_arms(exact_pairs(one), exact_pairs(zero)), theirs)


@given(PAIRS, PAIRS)
def test_ratios_agree(one: Pairs, zero: Pairs) -> None:
    """Σy / Σx of drawn samples, by the same variance."""
    both = ratio_arms(exact_pairs(one), exact_pairs(zero), floored=False)
    assume(isinstance(both, Arms) and min(both.treatment.variance, both.control.variance) > 1e-9)
    metric = RatioOfMeans("y", "x", equal_var=False, use_t=True)
    same(both, metric.analyze_aggregates(aggregates(zero), aggregates(one)))


def drawn(effect: float, seed: int) -> Pairs:
    """Return 500 units whose y is 0.8 x plus an effect and noise, in cents."""
    chance = np.random.default_rng(seed)
    x = np.round(chance.gamma(4.0, 10.0, 500), 2)
    y = np.round(20.0 + effect + 0.8 * x + chance.normal(0.0, 5.0, 500), 2)
    return list(zip(y.tolist(), x.tolist(), strict=True))


@pytest.mark.parametrize("effect", [0.0, 2.0, 40.0])
def test_cuped_agrees_given_their_slope(effect: float) -> None:
    """With theta over both variants together all else is equal; and that theta is further from the true 0.8
    the larger the effect is, while ours is not."""
    one, zero = drawn(effect, 1), drawn(0.0, 2)
    treatment, control = exact_pairs(one), exact_pairs(zero)
    together, ours = adjustment([treatment + control]), adjustment([treatment, control])
    metric = Mean("y", "x", equal_var=False, use_t=True)
    same(arms_by(treatment, control, together), metric.analyze_aggregates(aggregates(zero), aggregates(one)))
    assert ours.theta == pytest.approx(0.8, abs=0.02)
    if effect == 0.0:
        assert together.theta == pytest.approx(ours.theta, abs=1e-3)
    if effect == 40.0:
        assert abs(together.theta - 0.8) > 2 * abs(ours.theta - 0.8)


def arms_by(treatment: Sums, control: Sums, by: Adjustment) -> Arms:
    """Return the adjusted arms as tea-tasting has them: without the error of x̄."""
    one, zero = adjusted_arm(treatment, by), adjusted_arm(control, by)
    assert not isinstance(one, NotEnough)
    assert not isinstance(zero, NotEnough)
    return Arms(one, zero)
