"""CUPED, lifts, ratios and quantiles in the judge's comparisons, under each method."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from libs.statistics.pairs import exact_pairs
from libs.statistics.quantile_sketch import Sketch, count_value
from libs.statistics.sums import MICRO, Sums, exact_sums
from schemas.experiments import (
    Direction,
    Metric,
    MetricKind,
    MetricRole,
    VerdictKind,
)
from schemas.policies import Method
from schemas.results import Comparison
from tests.unit.metrics.test_judge import Life, result_of, running, totals
from tests.unit.metrics.test_judge_methods import BETTER, GOAL, by_sums, shown, under


def paired(shift: float) -> Sums:
    """Return 400 units whose past says nearly everything about what they do."""
    return exact_pairs([(unit % 20 + shift + (unit % 3) * 0.1, float(unit % 20)) for unit in range(400)])


@pytest.mark.parametrize("method", Method)
def test_cuped_narrows_the_interval_and_says_by_how_much(method: Method) -> None:
    """With a covariate window the arms are adjusted under every method; the reduction is in the result."""
    plain = Metric(name="good", conversion="c", kind=MetricKind.MEAN, role=MetricRole.GOAL)
    cuped = plain.model_copy(update={"covariate_window_ms": 1_000})
    found = by_sums({("a", "good"): paired(0.0), ("b", "good"): paired(0.5)})
    with_past = shown(under(method, [cuped], planned_units=800, looks=1), found)
    without = shown(under(method, [plain], planned_units=800, looks=1), found)
    assert with_past.variance_reduction is not None
    assert with_past.variance_reduction > 0.99
    assert without.variance_reduction is None
    assert "CUPED" in with_past.method
    assert with_past.upper is not None
    assert with_past.lower is not None
    assert without.upper is not None
    assert without.lower is not None
    assert with_past.upper - with_past.lower < (without.upper - without.lower) / 5
    assert with_past.lower > 0 > without.lower


@pytest.mark.parametrize("window_ms", [0, 1_000])
def test_the_lift_of_values_waits_for_its_burn_in(window_ms: int) -> None:
    """At 999 units a variant the result has the difference, the estimate of the lift and the reason why that
    has no interval yet; at 1,000 it has one. Adjusted by CUPED or not."""
    metric = Metric(name="good", conversion="c", kind=MetricKind.MEAN, role=MetricRole.GOAL)
    experiment = running([metric.model_copy(update={"covariate_window_ms": window_ms})])

    def at(units: int) -> Comparison:
        one, two = (
            exact_pairs([(unit % 20 + shift, float(unit % 3)) for unit in range(units)])
            for shift in (10.0, 15.0)
        )
        return shown(experiment, by_sums({("a", "good"): one, ("b", "good"): two}))

    early, late = at(999), at(1_000)
    assert early.sufficient
    assert early.lower is not None
    assert early.lower > 0
    assert early.relative == pytest.approx(0.256, abs=0.002)
    assert (early.relative_lower, early.relative_upper) == (None, None)
    assert early.relative_reason.startswith("999 units in the smaller variant")
    assert late.relative_lower is not None
    assert late.relative_lower > 0
    assert late.relative_reason == ""


def test_the_lift_of_rates_needs_no_longer_burn_in() -> None:
    """400 units a variant with 80 and 140 conversions: the interval is there."""
    found = shown(running([GOAL]), totals({"a": (400, 80), "b": (400, 140)}))
    assert found.relative_lower is not None
    assert found.relative_lower > 0


def test_cuped_without_a_past_says_so() -> None:
    """Where no unit did anything before, the plain numbers are shown with the reason."""
    metric = GOAL.model_copy(update={"covariate_window_ms": 1_000})
    found = shown(running([metric]), totals(BETTER))
    assert found.variance_reduction is None
    assert "not adjusted by CUPED" in found.note
    assert found.sufficient


@pytest.mark.parametrize("method", Method)
def test_ratios_are_compared_by_the_delta_method(method: Method) -> None:
    """Clicks per view: the estimate is the difference of the ratios of sums, under every method."""
    metric = Metric(
        name="good", conversion="click", kind=MetricKind.RATIO, denominator="view", role=MetricRole.GOAL
    )
    one = exact_pairs([(unit % 4 + 0.0, unit % 4 + 1.0 + unit % 2) for unit in range(1_000)])
    two = exact_pairs([(unit % 4 + 0.5, unit % 4 + 1.0 + unit % 2) for unit in range(1_000)])
    found = shown(
        under(method, [metric], planned_units=2_000, looks=1),
        by_sums({("a", "good"): one, ("b", "good"): two}),
    )
    expected = two.total / two.covariate_total - one.total / one.covariate_total
    assert found.sufficient, found.reason
    assert found.estimate == pytest.approx(expected, rel=1e-6)
    assert found.lower is not None
    assert found.lower > 0


def sketch(values: Sequence[float]) -> Sketch:
    """Return the sketch of these values."""
    found: Sketch = {}
    for value in values:
        count_value(found, round(value * MICRO))
    return found


@pytest.mark.parametrize("method", Method)
def test_quantiles_are_compared_by_their_sketches(method: Method) -> None:
    """A median of latencies that doubles is found harmful, under every method; without sketches a reason."""
    metric = Metric(
        name="good", conversion="ms", kind=MetricKind.QUANTILE, quantile=0.5, direction=Direction.DECREASE
    )
    values = {
        key: [factor * (50.0 + unit % 100) for unit in range(2_000)] for key, factor in (("a", 1), ("b", 2))
    }
    sums = by_sums({(key, "good"): exact_sums(each) for key, each in values.items()})
    found = replace(sums, sketches={(key, "good"): sketch(each) for key, each in values.items()})
    experiment = under(method, [metric], planned_units=4_000)
    judgement = Life(experiment).look(found)
    comparison = result_of(judgement).comparisons[0]
    assert comparison.estimate == pytest.approx(100, rel=0.03)
    assert judgement.verdict is not None
    assert judgement.verdict.kind is VerdictKind.ROLL_BACK
    blank = shown(experiment, sums)
    assert not blank.sufficient
    assert blank.reason
