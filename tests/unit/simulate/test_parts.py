"""Small counts, quantiles and splits: found over arrays as the product finds them one by one."""

import math

import numpy as np
import pytest

from benchmarks.simulate import populations as of
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.detection import detected
from benchmarks.simulate.planned_looks import designs
from benchmarks.simulate.quantile_alarms import Cell, first_alarms, sketch_of
from benchmarks.simulate.small_counts import Counts
from benchmarks.simulate.splits import watch
from benchmarks.simulate.streams import Schedule, schedule, watch_rates
from benchmarks.simulate.watching import NEVER
from libs.statistics.differences import NotEnough
from libs.statistics.proportions import Counted, Split, exact_test
from libs.statistics.quantile_sketch import count_value
from libs.statistics.sample_ratio import log_bayes_factor

GROUND = Ground(3)


@pytest.mark.parametrize(("share", "counted"), [(0.5, Counted.CONVERSIONS), (0.1, Counted.MISSES)])
def test_the_exact_test_fires_where_the_product_does(share: float, counted: Counted) -> None:
    """Two-sided, lower and higher, at every look of runs with a true difference, by hits or by misses."""
    chance = GROUND.chance("exact", share)
    rates = (0.02, 0.05) if counted is Counted.CONVERSIONS else (0.95, 0.98)
    watched = watch_rates(chance, 4, schedule(chance, share, 4_000), rates)
    split = Split(share, counted=counted)
    found = Counts(watched, split).fires()
    assert found[0].any()
    for run, look in np.ndindex(watched.shape):
        said = exact_test(*watched.sums(run, look), split)
        logs = [0.0] * 3
        if not isinstance(said, NotEnough):
            logs = [said.log_e, said.log_e_lower, said.log_e_higher]
        assert [bool(side[run, look]) for side in found] == [each >= -math.log(0.05) for each in logs]


def test_sketches_are_the_products() -> None:
    """Values counted over an array fall into the bins that the product counts them into."""
    micros = np.array([0, 1, 49, 50, 51, 10**6, 20_085_536, 10**10, 0, 10**6])
    one_by_one: dict[int, int] = {}
    for each in micros.tolist():
        count_value(one_by_one, each)
    assert sketch_of(micros) == one_by_one


def test_a_quantile_that_doubles_is_found() -> None:
    """Its alarm is one for "lower is better" and "excludes 0", with the product asked at every alarm."""
    chance = GROUND.chance("quantiles")
    cell = Cell(of.LOGNORMAL, 0.5, 0.5)
    up, down, either = first_alarms(chance, 10, cell, schedule(chance, 0.5, 3_000), 2.0)
    assert (up == NEVER).all()
    assert (down != NEVER).all()
    assert (either >= down).all()


def test_splits_run_the_products_bayes_factor() -> None:
    """The running p-value is the least there was, and never rises."""
    when = schedule(GROUND.chance("splits"), 0.5, 5_000)
    found = watch(GROUND.chance("splits", 1), 5, when, ((0.45, 0.55), (0.5, 0.5)))
    assert (np.diff(found.log_p, axis=1) <= 0.0).all()
    assert found.log_p.min() < math.log(0.001)
    assert log_bayes_factor({"a": 450, "b": 550}, {"a": 0.5, "b": 0.5}) > 0.0


def test_a_median_is_told_only_when_half_of_the_runs_found_something() -> None:
    """Runs that found nothing count as later than all others."""
    when = Schedule(0.5, np.array([100, 200, 300]))
    told = detected(np.array([1, NEVER, 0]), when, held=True)
    assert (told.events, told.note) == (2, ", 200")
    assert detected(np.array([NEVER, NEVER, 0]), when, held=True).note == ", —"


def test_designs_cross_as_the_product_says() -> None:
    """Each spending plan is asked look by look; a z far out crosses, 0 never does."""
    for design in designs():
        looks = len(design.bounds)
        z = np.array([[0.0] * looks, [9.0] * looks])
        assert design.crossed(z).tolist() == [False, True]
