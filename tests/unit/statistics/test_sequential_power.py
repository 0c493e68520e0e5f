"""What looking on the way costs, against published inflation factors and simulation."""

import math

import numpy as np
import pytest

from libs.statistics.boundary_integration import exit_probabilities
from libs.statistics.differences import NotEnough
from libs.statistics.group_sequential import (
    Classic,
    Plan,
    Spending,
    boundaries,
    classical_boundaries,
    equal_looks,
)
from libs.statistics.power import Demands, Effect, Size, rate_baseline, sample_size
from libs.statistics.sequences import Tuning, two_sided_radius
from libs.statistics.sequential_power import (
    SequentialSize,
    always_valid_size,
    plan_drift,
    plan_exits,
    plan_size,
)

UNIT = Effect(0.1, 1.0, 1.0)


@pytest.mark.parametrize(
    ("shape", "looks", "power", "inflation"),
    [
        (Classic.POCOCK, 2, 0.8, 1.110),
        (Classic.POCOCK, 5, 0.8, 1.229),
        (Classic.POCOCK, 5, 0.9, 1.207),
        (Classic.POCOCK, 10, 0.9, 1.271),
        (Classic.OBRIEN_FLEMING, 2, 0.8, 1.008),
        (Classic.OBRIEN_FLEMING, 5, 0.8, 1.028),
        (Classic.OBRIEN_FLEMING, 5, 0.9, 1.026),
    ],
)
def test_published_inflation_factors_give_the_published_power(
    shape: Classic, looks: int, power: float, inflation: float
) -> None:
    """Jennison, Turnbull (2000), tables 2.2 and 2.4: fixed size times the factor has the power, to 0.001."""
    drift = Demands(0.05, power).drift * math.sqrt(inflation)
    bounds = [(-each, each) for each in classical_boundaries(shape, looks)]
    exits = exit_probabilities(equal_looks(looks), bounds, drift)
    assert math.fsum(exits.upper) == pytest.approx(power, abs=0.001)


@pytest.mark.parametrize("spending", Spending)
@pytest.mark.parametrize("two_sided", [True, False])
def test_a_plan_with_its_drift_has_its_power(spending: Spending, two_sided: bool) -> None:
    """And it takes more units at most, fewer on average, than the fixed test."""
    plan = Plan(equal_looks(4), 0.05, spending, two_sided)
    demands = Demands(0.05, 0.9, two_sided)
    assert math.fsum(plan_exits(plan, plan_drift(plan, 0.9)).upper) == pytest.approx(0.9, abs=1e-6)
    found, fixed = plan_size(UNIT, plan, demands), sample_size(UNIT, demands)
    assert isinstance(found, SequentialSize)
    assert isinstance(fixed, Size)
    assert found.typical.total < fixed.total < found.most.total


def test_expected_units_of_a_plan_are_those_of_simulated_experiments() -> None:
    """20,000 experiments with the effect: share that is found, and the mean of the units at the stop."""
    plan, demands = Plan(equal_looks(5)), Demands(0.05, 0.8)
    found = plan_size(UNIT, plan, demands)
    assert isinstance(found, SequentialSize)
    chance = np.random.default_rng(4)
    look_units = found.most.control / 5
    arms = np.cumsum(chance.normal(size=(2, 20_000, 5)) * math.sqrt(look_units), axis=2)
    units = look_units * np.arange(1, 6)
    z = (0.1 * units + arms[0] - arms[1]) / np.sqrt(2 * units)
    outside = np.abs(z) >= np.array(boundaries(plan))
    stopped = np.where(outside.any(axis=1), outside.argmax(axis=1), 4)
    assert outside.any(axis=1).mean() == pytest.approx(0.8, abs=0.012)
    assert units[stopped].mean() == pytest.approx(found.typical.control, rel=0.01)


def test_always_valid_units_are_about_those_of_simulated_experiments() -> None:
    """1,000 experiments, looked at 100 units apart: the median up to a quarter less, the power by `most`."""
    demands = Demands(0.05, 0.8)
    found = always_valid_size(UNIT, demands, 5_000)
    assert isinstance(found, SequentialSize)
    chance = np.random.default_rng(8)
    looks, runs = found.most.total // 100, 1_000
    units = 100 * np.arange(1, looks + 1)
    steps = chance.normal(5.0, math.sqrt(2 * 50), size=(runs, looks))
    estimate = np.cumsum(steps, axis=1) / (units / 2)
    radius = [two_sided_radius(4 / n, n, Tuning(0.05, 5_000)) for n in units.tolist()]
    outside = estimate > np.array(radius)
    stopped = np.where(outside.any(axis=1), units[outside.argmax(axis=1)], 10**9)
    assert 0.75 * found.typical.total <= np.median(stopped) <= found.typical.total
    assert outside.any(axis=1).mean() >= 0.8


def test_looking_at_any_time_costs_more_than_looking_once() -> None:
    """At 80 % power; one side costs less than two; a half share less than a tenth."""
    effect = rate_baseline(0.05).difference(-0.01)
    fixed = sample_size(effect, Demands())
    assert isinstance(fixed, Size)
    found = [
        always_valid_size(effect, demands, 5_000)
        for demands in (Demands(), Demands(two_sided=False), Demands(treatment_share=0.1))
    ]
    both, one_side, small = (each.most.total if isinstance(each, SequentialSize) else 0 for each in found)
    assert fixed.total < both < small
    assert 0 < one_side < both


def test_what_cannot_be_found_has_a_reason_and_what_is_plain_needs_few() -> None:
    """A tiny effect has no size in any design; a huge one needs the least there is."""
    tiny, huge = Effect(1e-12, 1.0, 1.0), Effect(1e9, 1.0, 1.0)
    plan = Plan(equal_looks(3))
    assert isinstance(always_valid_size(tiny, Demands(), 5_000), NotEnough)
    assert isinstance(plan_size(tiny, plan, Demands()), NotEnough)
    for found in (always_valid_size(huge, Demands(), 5_000), plan_size(huge, plan, Demands())):
        assert isinstance(found, SequentialSize)
        assert found.most.total == 4


def test_a_power_that_is_none_is_refused_by_name() -> None:
    """The message names the field to change."""
    with pytest.raises(ValueError, match="power"):
        plan_drift(Plan((1.0,)), 1.0)
