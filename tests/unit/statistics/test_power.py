"""Sample size, power, detectable effect and run time, against statsmodels and their own laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import NormalIndPower, normal_power_het, normal_sample_size_one_tail
from statsmodels.stats.proportion import power_proportions_2indep

from libs.statistics.differences import NotEnough
from libs.statistics.power import (
    Baseline,
    Demands,
    Effect,
    Forecast,
    Size,
    Traffic,
    detectable_difference,
    power_of,
    rate_baseline,
    run_time,
    sample_size,
)


def size(effect: Effect, demands: Demands) -> Size:
    """Return the size, which there must be."""
    found = sample_size(effect, demands)
    assert isinstance(found, Size)
    return found


@pytest.mark.parametrize("effect_size", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("ratio", [1.0, 1 / 9])
@pytest.mark.parametrize("two_sided", [True, False])
def test_means_need_what_statsmodels_says(effect_size: float, ratio: float, two_sided: bool) -> None:
    """Equal variances, equal and 90/10 shares, one and two sides: the same units, to its solver's error."""
    demands = Demands(0.05, 0.9, two_sided, ratio / (1 + ratio))
    control = NormalIndPower().solve_power(
        effect_size, None, 0.05, 0.9, ratio, "two-sided" if two_sided else "larger"
    )
    found = size(Baseline(5.0, 9.0).difference(3 * effect_size), demands)
    assert found.control == pytest.approx(control, abs=1.01, rel=2e-6)
    assert found.treatment == pytest.approx(control * ratio, abs=1.01, rel=2e-6)


@pytest.mark.parametrize(("rate", "change"), [(0.05, 0.005), (0.5, -0.02), (0.001, 0.0005)])
def test_proportions_need_what_the_unpooled_formula_says(rate: float, change: float) -> None:
    """statsmodels' normal size with the variance of the alternative on both sides of the test.

    Its `samplesize_proportions_2indep_onetail` takes the pooled variance under "no difference" instead,
    as its test does; ours is the interval's, so sizes differ by a percent or so. Both are right.
    """
    effect = rate_baseline(rate).difference(change)
    deviation = math.sqrt(effect.treatment_variance + effect.control_variance)
    per_arm = normal_sample_size_one_tail(abs(change), 0.8, 0.025, std_null=deviation)
    assert size(effect, Demands()).control == pytest.approx(per_arm, abs=1.01)
    pooled = power_proportions_2indep(change, rate, size(effect, Demands()).control).power
    assert pooled == pytest.approx(0.8, abs=0.01)


@given(st.floats(0.001, 0.9), st.floats(0.001, 0.09), st.integers(10, 10**7), st.floats(0.05, 0.95))
def test_power_is_statsmodels_power_in_the_effects_direction(
    rate: float, change: float, units: int, share: float
) -> None:
    """One tail of `normal_power_het` with the same variance in both hypotheses."""
    effect = rate_baseline(rate).difference(change)
    demands = Demands(treatment_share=share)
    deviation = math.sqrt(demands.unit_variance(effect))
    expected = normal_power_het(change, units, 0.025, deviation, deviation, "larger")
    assert power_of(effect, units, demands) == pytest.approx(float(expected), abs=1e-9)


@given(
    st.floats(0.001, 0.6), st.integers(2_000, 10**8), st.floats(0.1, 0.9), st.floats(0.2, 0.99), st.booleans()
)
@settings(deadline=None)
def test_the_detectable_difference_is_detected(
    rate: float, units: int, share: float, power: float, proportion: bool
) -> None:
    """The power at the detectable difference is the one that was asked for."""
    baseline = rate_baseline(rate) if proportion else Baseline(rate, 2.0)
    demands = Demands(0.05, power, True, share)
    found = detectable_difference(baseline, units, demands)
    if not isinstance(found, NotEnough):
        assert power_of(baseline.difference(found), units, demands) == pytest.approx(power, abs=1e-6)


def test_a_lift_is_found_as_often_as_promised() -> None:
    """Of 4,000 experiments with a lift of 20 % of a mean of 2, 80 % reject "no lift" by the delta method."""
    chance = np.random.default_rng(9)
    demands = Demands(treatment_share=0.3)
    sized = size(Baseline(2.0, 4.0).lift(0.2), demands)
    runs = 4_000
    treatment = 2.4 + chance.normal(size=runs) * 2 / math.sqrt(sized.treatment)
    control = 2.0 + chance.normal(size=runs) * 2 / math.sqrt(sized.control)
    lift = treatment / control - 1
    error = np.sqrt(4 / sized.treatment + (1 + lift) ** 2 * 4 / sized.control) / np.abs(control)
    found = float((lift / error > 1.959964).mean())
    assert found == pytest.approx(0.8, abs=0.025)


def test_the_lift_of_a_negative_mean_is_of_its_size() -> None:
    """20 % up from -2 is -1.6: the same effect as 20 % down from 2, mirrored."""
    up, down = Baseline(-2.0, 4.0).lift(0.2), Baseline(2.0, 4.0).lift(-0.2)
    assert up.control_variance == pytest.approx(down.control_variance)
    assert up.size == -down.size


def test_run_time_is_that_of_the_slower_arm() -> None:
    """900 controls are missing at 90 an hour, 100 treatments at 10; what is there counts."""
    traffic = Traffic(0, 100, 100.0, Demands(treatment_share=0.1))
    assert run_time(Size(100, 1_000), traffic) == Forecast(1_000, 10.0)
    assert run_time(Size(10, 50), Traffic(20, 50, 5.0)) == Forecast(0, 0.0)


@pytest.mark.parametrize("units_per_hour", [0.0, -1.0, math.nan, math.inf, 5e-324])
def test_without_traffic_there_is_no_end(units_per_hour: float) -> None:
    """A reason, no infinity."""
    found = run_time(Size(10**6, 10**6), Traffic(0, 0, units_per_hour))
    assert isinstance(found, NotEnough)
    assert "arrive" in found.reason


def test_what_cannot_be_found_has_a_reason() -> None:
    """An effect too small for any number of units; a proportion that cannot rise far enough; no units."""
    assert isinstance(sample_size(Effect(1e-12, 1.0, 1.0), Demands()), NotEnough)
    assert isinstance(sample_size(Effect(5e-324, 1.0, 1.0), Demands()), NotEnough)
    assert isinstance(detectable_difference(rate_baseline(0.999), 20, Demands()), NotEnough)
    assert isinstance(detectable_difference(rate_baseline(0.5), 3, Demands()), NotEnough)
    assert power_of(Effect(1.0, 1.0, 1.0), 0, Demands()) == 0.0


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"power": 1.0}, "power"),
        ({"power": 0.02}, "power"),
        ({"treatment_share": 1.0}, "treatment_share"),
    ],
)
def test_demands_out_of_range_are_refused_by_name(settings: dict[str, float], word: str) -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match=word):
        Demands(**settings)  # type: ignore[arg-type]


def test_baselines_and_effects_out_of_range_are_refused_by_name() -> None:
    """No variance, a certain proportion, a rate beyond 1, no effect, a lift of nothing."""
    with pytest.raises(ValueError, match="variance"):
        Baseline(1.0, 0.0)
    with pytest.raises(ValueError, match="mean"):
        rate_baseline(1.0)
    with pytest.raises(ValueError, match="size"):
        rate_baseline(0.9).difference(0.2)
    with pytest.raises(ValueError, match="size"):
        Baseline(1.0, 1.0).difference(0.0)
    with pytest.raises(ValueError, match="mean"):
        Baseline(0.0, 1.0).lift(0.1)
