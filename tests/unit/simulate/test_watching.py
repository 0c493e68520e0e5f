"""Runs, their sums, and the agreement of arrays with the product's own functions."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.simulate import populations as of
from benchmarks.simulate.arrays import ADJUSTED, MEANS, RATES, RATIOS, Method
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.populations import Population
from benchmarks.simulate.rules import APPROVES, BREACH, DIFFERS, HARM, Rule, loses_difference, loses_lift
from benchmarks.simulate.streams import of_rate, of_values, schedule, watch_values
from benchmarks.simulate.watching import NEVER, Disagreement, Watcher
from libs.statistics.comparisons import Question
from libs.statistics.differences import Arms
from libs.statistics.lifts import LiftMethod
from libs.statistics.pairs import exact_pairs

GROUND = Ground(3)
RULES = (
    HARM,
    BREACH,
    DIFFERS,
    APPROVES,
    loses_difference(-3.0),
    loses_lift(-0.3, LiftMethod.FIELLER),
    loses_lift(-0.3, LiftMethod.DELTA),
)


def test_random_numbers_are_the_cells_own() -> None:
    """The same name gives the same numbers, another name or seed gives others, and order plays no part."""
    first = GROUND.chance("a", 1).random(4).tolist()
    other = GROUND.chance("a", 2).random(4).tolist()
    assert GROUND.chance("a", 1).random(4).tolist() == first != other
    assert Ground(4).chance("a", 1).random(4).tolist() != first


def test_a_schedule_ends_where_it_should() -> None:
    """Batches of 50 to 100 units; the last one may be shorter, and ends at the horizon."""
    when = schedule(GROUND.chance("schedule"), 0.5, 5_000)
    sizes = when.sizes
    assert when.ends[-1] == sizes.sum() == 5_000
    assert sizes[:-1].min() >= 50
    assert sizes.max() <= 100


def test_sums_are_those_of_the_units() -> None:
    """The sums at the last look are what the product makes of the same values one by one."""
    drawn: list[np.ndarray] = []

    def remembered(chance: np.random.Generator, factor: np.ndarray) -> of.Drawn:
        y, x = of.SPENDING.draw(chance, factor)
        assert x is not None
        drawn[:] = [y, x, factor]
        return y, x

    population = Population("remembered", remembered, of.CENT)
    when = schedule(GROUND.chance("sums"), 0.3, 400)
    watched = watch_values(GROUND.chance("sums", 1), 2, when, population, 0.5)
    y, x, factor = (each[1] for each in drawn)
    treatment, control = watched.sums(1, watched.shape[1] - 1)
    for found, chosen in ((treatment, factor == 0.5), (control, factor == 1.0)):
        assert found == exact_pairs(zip((y[chosen] / 100).tolist(), (x[chosen] / 100).tolist(), strict=True))


@pytest.mark.parametrize(
    ("method", "population"),
    [(MEANS, of.LOGNORMAL), (MEANS, of.BUYERS_5), (RATIOS, of.CLICKS), (ADJUSTED, of.SPENDING)],
)
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_values_agree_with_the_product_at_every_look(
    method: Method, population: Population, share: float
) -> None:
    """Estimate, variance and contrasts over arrays are the product's to 9 digits, whatever the split."""
    chance = GROUND.chance(method.name, population.name, share)
    agree(Watcher.of(of_values(population)(chance, 3, schedule(chance, share, 3_000), 0.8), method))


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_proportions_agree_with_the_product_at_every_look(rate: float) -> None:
    """The same of proportions."""
    chance = GROUND.chance("rates", rate)
    agree(Watcher.of(of_rate(rate)(chance, 3, schedule(chance, 0.1, 3_000), 0.8), RATES))


def agree(watcher: Watcher) -> None:
    """Compare every look with the product's arms."""
    runs, looks = watcher.watched.shape
    estimate, variance = watcher.pairs.contrast(1.0)
    tilted, tilted_variance = watcher.pairs.contrast(0.7)
    seen = 0
    for run in range(runs):
        for look in range(0, looks, 3):
            both = watcher.method.arms(*watcher.watched.sums(run, look))
            assert isinstance(both, Arms) == watcher.pairs.there[run, look]
            if isinstance(both, Arms):
                seen += 1
                assert estimate[run, look] == pytest.approx(both.estimate, rel=1e-9, abs=1e-9)
                assert variance[run, look] == pytest.approx(both.variance, rel=1e-9)
                assert (tilted[run, look], tilted_variance[run, look]) == pytest.approx(
                    both.contrast(0.7), rel=1e-9, abs=1e-9
                )
    assert seen > looks // 3


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("higher", [True, False])
def test_rules_agree_with_the_product_at_every_look(rule: Rule, higher: bool) -> None:
    """Where a rule fires over arrays it fires in the product, and nowhere else."""
    chance = GROUND.chance("rules")
    watched = of_values(of.NORMAL)(chance, 4, schedule(chance, 0.5, 3_000), 0.85)
    question = Question(proportion=False, better_when_higher=higher)
    first = Watcher.of(watched, MEANS).first_alarms(rule, question)
    for run in range(watched.shape[0]):
        fired = []
        for look in range(watched.shape[1]):
            treatment, control = watched.sums(run, look)
            both = MEANS.arms(treatment, control)
            enough = min(treatment.units, control.units) >= question.burn_in_units
            fired.append(enough and isinstance(both, Arms) and rule.fires(both, question))
        assert first[run] == (fired.index(True) if any(fired) else NEVER)


def test_a_difference_to_the_product_ends_the_simulation() -> None:
    """Were the formulas over arrays wrong, no claim would be made."""
    chance = GROUND.chance("wrong")
    watcher = Watcher.of(of_values(of.NORMAL)(chance, 20, schedule(chance, 0.5, 2_000), 0.8), MEANS)
    wrong = replace(watcher, pairs=replace(watcher.pairs, m1=watcher.pairs.m1 * 1.2))
    with pytest.raises(Disagreement):
        wrong.first_alarms(HARM, Question(proportion=False))
