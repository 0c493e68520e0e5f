"""Whatever the sums are: numbers or a reason, never NaN, infinity or a blank, under every method."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from libs.statistics.pairs import exact_pairs
from libs.statistics.sums import MICRO, Sums, exact_sums
from schemas.experiments import Experiment, Metric, MetricKind, MetricRole, Policy, Variant
from schemas.names import MAX_VALUE
from schemas.policies import Correction, Method
from schemas.results import Comparison, Result
from services.metrics.domain.totals import ExperimentTotals, VariantTotals
from tests.unit.metrics.test_judge import Life, result_of, running, totals

NOBODY = Sums()
METRICS = (
    Metric(name="share", conversion="c", role=MetricRole.GOAL, covariate_window_ms=1_000),
    Metric(name="plain", conversion="c"),
    Metric(name="value", conversion="c", kind=MetricKind.MEAN),
    Metric(name="adjusted", conversion="c", kind=MetricKind.MEAN, covariate_window_ms=1_000),
    Metric(name="count", conversion="c", kind=MetricKind.COUNT, role=MetricRole.GOAL),
    Metric(name="per", conversion="c", kind=MetricKind.RATIO, denominator="d"),
    Metric(name="median", conversion="c", kind=MetricKind.QUANTILE, quantile=0.5),
)


def rates(units: int, converted: int) -> Sums:
    """Return the sums of a proportion."""
    return Sums(units, converted, converted * MICRO, converted * MICRO**2)


CASES: dict[str, tuple[Sums, Sums]] = {
    "no units": (NOBODY, NOBODY),
    "no units in control": (NOBODY, rates(500, 50)),
    "one unit": (rates(1, 1), rates(1, 0)),
    "one unit against many": (rates(1, 1), rates(100_000, 5_000)),
    "all converted": (rates(1_000, 1_000), rates(1_000, 1_000)),
    "none converted": (rates(1_000, 0), rates(1_000, 0)),
    "none in control, few in treatment": (rates(1_000, 0), rates(1_000, 3)),
    "all in control, none in treatment": (rates(1_000, 1_000), rates(1_000, 0)),
    "one value for all": (exact_sums([7.5] * 500), exact_sums([7.5] * 500)),
    "one value an arm": (exact_sums([7.5] * 500), exact_sums([8.5] * 500)),
    "negative values": (exact_sums([-5.0, -6.0] * 300), exact_sums([-5.5, -6.5] * 300)),
    "huge values": (exact_sums([MAX_VALUE, -MAX_VALUE] * 300), exact_sums([MAX_VALUE, 1.0] * 300)),
    "sums of a million huge values": (
        Sums(1_000, 1_000, 10**33, 10**63 + 10**60),
        Sums(1_000, 1_000, -(10**33), 10**63 + 10**60),
    ),
    "tiny values": (exact_sums([1e-6, 0.0] * 300), exact_sums([0.0, 0.0] * 300)),
    "control mean of 0": (exact_sums([1.0, -1.0] * 300), exact_sums([2.0, -1.0] * 300)),
    "control mean near 0": (exact_sums([1.0, -1.0] * 300 + [1e-6]), exact_sums([2.0, -1.0] * 300)),
    "denominators that sum to 0": (
        exact_pairs([(1.0, 1.0), (2.0, -1.0)] * 300),
        exact_pairs([(1.0, 1.0), (3.0, -1.0)] * 300),
    ),
    "the past explains all": (
        exact_pairs([(x % 7, x % 7) for x in range(600)]),
        exact_pairs([(x % 7 + 1, x % 7) for x in range(600)]),
    ),
}


def found(control: Sums, treatment: Sums) -> ExperimentTotals:
    """Return totals where every metric has these sums."""
    arms = {"a": control, "b": treatment}
    return replace(
        totals({}),
        variants={key: VariantTotals(each.units, each.units, each.units) for key, each in arms.items()},
        sums={(key, metric.name): each for key, each in arms.items() for metric in METRICS},
        sketches={
            (key, "median"): {1: each.converted_units} for key, each in arms.items() if each.converted_units
        },
    )


def experiment(method: Method) -> Experiment:
    """Return an experiment with every kind of metric."""
    return running(
        METRICS, policy=Policy(method=method, planned_units=1_000, looks=3, correction=Correction.HOLM)
    )


def numbers(value: object) -> Iterator[float]:
    """Yield every number in a JSON value."""
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, float):
        yield value


def check(comparison: Comparison) -> None:
    """Assert that a comparison has numbers that fit together, or a reason."""
    if not comparison.sufficient:
        assert comparison.reason
        assert (comparison.estimate, comparison.p_value, comparison.relative_lower) == (None, None, None)
        return
    assert comparison.reason == ""
    assert comparison.estimate is not None
    assert comparison.lower is not None
    assert comparison.upper is not None
    # A credible interval is around the median, the estimate is the mean: at an alpha near 1 they part.
    if "Bayesian" in comparison.method and comparison.alpha > 0.5:
        return
    slack = 1e-9 * (abs(comparison.lower) + abs(comparison.upper) + 1e-300)
    assert comparison.lower - slack <= comparison.estimate <= comparison.upper + slack
    assert (comparison.relative_lower is None) == bool(comparison.relative_reason)
    assert comparison.method
    has_chance = comparison.chance_to_beat_control is not None
    assert has_chance or comparison.p_value is not None or comparison.note
    assert comparison.p_value is None or 0 < comparison.p_value <= 1


def judged(method: Method, control: Sums, treatment: Sums) -> Result:
    """Return the result of two looks, after checking all of it."""
    life = Life(experiment(method))
    life.look(found(control, treatment))
    result = result_of(life.look(found(control, treatment)))
    for each in result.comparisons:
        check(each)
    text = result.to_json().decode()
    assert all(math.isfinite(each) for each in numbers(json.loads(text, parse_constant=float)))
    return result


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("case", CASES)
def test_every_comparison_has_numbers_or_a_reason(method: Method, case: str) -> None:
    """Through the whole judge, and through its memory's JSON, in either direction."""
    control, treatment = CASES[case]
    judged(method, control, treatment)
    judged(method, treatment, control)


VALUES = st.lists(st.floats(-MAX_VALUE, MAX_VALUE), max_size=6)


@settings(max_examples=40, deadline=None)
@given(VALUES, VALUES, st.sampled_from([1, 100, 10_000]), st.sampled_from(list(Method)))
def test_any_values_any_size(one: list[float], two: list[float], times: int, method: Method) -> None:
    """Few values repeated many times: variance without units, units without variance, sizes of any order."""

    def repeated(values: list[float]) -> Sums:
        sums = exact_pairs([(value, value / 3) for value in values])
        return Sums(
            *(each * times for each in (sums.units, sums.converted_units, sums.total)),
            *(each * times for each in (sums.total_squares, sums.covariate_total)),
            *(each * times for each in (sums.covariate_squares, sums.cross)),
        )

    judged(method, repeated(one), repeated(two))


def test_fifty_variants_with_weights_of_0() -> None:
    """All are judged; the split is tested among those with a weight, and there is no leak."""
    variants = tuple(Variant(key=f"v{n}" if n else "a", weight=float(n % 2 == 0)) for n in range(50))
    counts = {each.key: (500, 50) if each.weight else (0, 0) for each in variants}
    judgement = Life(running(variants=variants)).look(totals(counts))
    result = result_of(judgement)
    assert len(result.comparisons) == 49
    assert sum(each.sufficient for each in result.comparisons) == 24
    assert all(each.reason for each in result.comparisons if not each.sufficient)
    assert result.sample_ratio is not None
    assert len(result.sample_ratio.expected) == 25
    assert judgement.alerts == ()


def test_control_without_weight_has_reasons() -> None:
    """A control that nobody is given is judged, too: there is nothing to compare with."""
    variants = (Variant(key="a", weight=0), Variant(key="b"), Variant(key="c"))
    result = result_of(Life(running(variants=variants)).look(totals({"b": (500, 5), "c": (500, 5)})))
    assert all(each.reason for each in result.comparisons)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan, math.inf])
def test_an_alpha_that_is_none_is_refused_by_field(alpha: float) -> None:
    """0 and 1 included."""
    with pytest.raises(ValidationError, match="alpha"):
        Policy(alpha=alpha)


@pytest.mark.parametrize("alpha", [1e-300, 1e-12, 0.5, 0.9, 1.0 - 1e-12])
@pytest.mark.parametrize("method", Method)
def test_an_alpha_at_the_edge_is_judged(method: Method, alpha: float) -> None:
    """As long as it lies between 0 and 1 there are numbers or a reason."""
    policy = Policy(method=method, planned_units=1_000, looks=3, alpha=alpha)
    life = Life(running(METRICS, policy=policy))
    for control, treatment in (CASES["none in control, few in treatment"], CASES["negative values"]):
        for each in result_of(life.look(found(control, treatment))).comparisons:
            check(each)
