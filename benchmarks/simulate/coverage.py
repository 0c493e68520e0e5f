"""Intervals for one planned look: how often do they hold the truth? Every one is the product's own."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from benchmarks.simulate import populations as of
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.false_alarms import split_in_words
from benchmarks.simulate.populations import Population
from benchmarks.simulate.quantile_alarms import sketch_of
from benchmarks.simulate.streams import Watched, of_rate, of_values, planned
from libs.statistics.cuped import adjusted_arms, adjustment
from libs.statistics.differences import Arms, NotEnough, arms
from libs.statistics.fixed_horizon import Fixed, mean_arms, two_proportions, welch
from libs.statistics.lifts import LiftInterval, LiftMethod, fixed_lift
from libs.statistics.quantiles import Asked, Look, quantile_interval
from libs.statistics.ratios import ratio_arms
from libs.statistics.sequences import Tuning
from libs.statistics.sums import Sums

ALPHA = 0.05
AT_LEAST = 0.94
RUNS = 10_000
VALUE_RUNS = 8_000
QUANTILE_RUNS = 4_000
LIFT = -0.2
FEWEST = 10
"""Conversions and misses that a variant expects: under it the normal interval is not promised."""
FEWEST_FOR_DELTA = 150
"""Conversions that control expects: under it the delta method has its 10 standard errors by luck."""
MANY = 100
"""Values other than zero that a variant expects: under it the interval of a mean is not promised."""
PER_SKEWNESS = 355
"""Units a variant and squared skewness from which a mean is near enough to normal: Kohavi, Deng, Longbotham,
Xu (2014), "Seven rules of thumb for web site experimenters". In even splits the skewness cancels."""
_SHARES = (0.5, 0.9, 0.99)

Interval = Fixed | LiftInterval | NotEnough
Maker = Callable[[Sums, Sums], Arms | NotEnough]


@dataclass(frozen=True, slots=True)
class _Truth:
    """What the intervals should hold, by which arms, and what they are held to."""

    difference: float
    make: Maker
    limit: float | None
    rates: bool = False
    delta: bool = True
    """Whether the limit is for the delta method, too."""

    def intervals(self, treatment: Sums, control: Sums) -> tuple[tuple[Interval, float], ...]:
        """Return the difference, Fieller's lift and the delta method's, each with the truth."""
        both = self.make(treatment, control)
        if isinstance(both, NotEnough):
            return (both, self.difference), (both, LIFT), (both, LIFT)
        plain = two_proportions(treatment, control, ALPHA) if self.rates else welch(both, ALPHA)
        lifts = (fixed_lift(both, ALPHA, method=each) for each in (LiftMethod.FIELLER, LiftMethod.DELTA))
        return (plain, self.difference), *((lift, LIFT) for lift in lifts)


def _covered(watched: Watched, truth: _Truth) -> tuple[Claim | str, ...]:
    """How often the intervals hold the truth, of the runs that have one."""
    runs, held, silent = watched.shape[0], [0, 0, 0], [0, 0, 0]
    for run in range(runs):
        for at, (interval, true) in enumerate(truth.intervals(*watched.sums(run, 0))):
            if isinstance(interval, NotEnough):
                silent[at] += 1
            else:
                held[at] += interval.lower <= true <= interval.upper
    limits = (truth.limit, truth.limit, truth.limit if truth.delta else None)
    return tuple(_claim(*each) for each in zip(held, [runs] * 3, silent, limits, strict=True))


def _claim(held: int, runs: int, silent: int, limit: float | None) -> Claim | str:
    if silent == runs:
        return "none"
    note = f", {silent:,} none" if silent else ""
    return Claim(held, runs - silent, limit, at_most=False, note=note)


def _rates(treatment: Sums, control: Sums) -> Arms | NotEnough:
    return arms(treatment, control, proportion=True)


def _ratios(treatment: Sums, control: Sums) -> Arms | NotEnough:
    return ratio_arms(treatment, control, floored=False)


def _adjusted(treatment: Sums, control: Sums) -> Arms | NotEnough:
    return adjusted_arms(treatment, control, adjustment([treatment, control]), floored=False)


def proportions(ground: Ground) -> Table:
    """Return the coverage of proportions, from rates of 0.1 % on."""
    cells = [
        (rate, share, units)
        for rate in (0.001, 0.01, 0.05, 0.5)
        for share in (0.5, 0.1)
        for units in (2_000, 20_000, 200_000)
    ]
    return Table(
        "Coverage of 95 % intervals: proportions",
        f"""One planned look; the treatment's rate is 20 % lower. The difference is Newcombe's hybrid score
interval. Limit: {100 * AT_LEAST:g} % or more, where both variants expect {FEWEST} conversions or more.
Below that (in italics) the intervals of a planned look are not promised, and the exact ones above take
their place. "None": runs that got a reason instead of an interval. Outside the claim, too, is the delta
method where control expects fewer than {FEWEST_FOR_DELTA} conversions: whether its mean is then 10
standard errors away from 0 is luck, and intervals are given in the runs with a high one alone.""",
        ("control's rate, split, units", "difference", "lift, Fieller", "lift, delta"),
        tuple(_proportion(ground, *cell) for cell in cells),
    )


def _proportion(ground: Ground, rate: float, share: float, units: int) -> Row:
    name = f"{100 * rate:g} %, {split_in_words(share)}, {units:,}"
    chance = ground.chance("coverage", name)
    watched = of_rate(rate)(chance, ground.runs(RUNS), planned(share, units), 1.0 + LIFT)
    fewest = units * rate * min(share * (1.0 + LIFT), 1.0 - share)
    limit = AT_LEAST if fewest >= FEWEST else None
    delta = units * rate * (1.0 - share) >= FEWEST_FOR_DELTA
    return Row(name, _covered(watched, _Truth(LIFT * rate, _rates, limit, rates=True, delta=delta)))


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured on whom; the true mean of control, and how often the value is not zero."""

    name: str
    population: Population
    make: Maker
    mean: float
    skewness: float = 0.0
    nonzero: float = 1.0

    def is_promised(self, units: int, share: float) -> bool:
        """Return whether the normal interval can be expected to hold with so many units."""
        smaller = units * min(share, 1.0 - share)
        skewed = share != 0.5 and smaller < PER_SKEWNESS * self.skewness**2
        return smaller * self.nonzero >= MANY and not skewed


_BOUGHT = math.exp(3.5)
"""Mean of a lognormal(3, 1)."""
_SPENT = 0.3 * 0.25 * (20.0 + 0.7 * _BOUGHT + _BOUGHT) + 0.7 * 0.04 * (20.0 + _BOUGHT)


def cells_of_values() -> Iterator[Cell]:
    """Yield every kind of metric but proportions, with the facts of its values."""
    yield Cell("mean", of.NORMAL, mean_arms, 10.0)
    yield Cell("mean", of.LOGNORMAL, mean_arms, _BOUGHT, 6.2)
    yield Cell("mean", of.BUYERS_5, mean_arms, 0.05 * _BOUGHT, 19.0, 0.05)
    yield Cell("mean", of.BUYERS_1, mean_arms, 0.01 * _BOUGHT, 43.0, 0.01)
    yield Cell("ratio", of.CLICKS, _ratios, 0.2 / 7.0 + 0.025 * 6.0 / 7.0, 3.1, 0.13)
    yield Cell("CUPED", of.STEADY, _adjusted, 10.0)
    yield Cell("CUPED", of.SPENDING, _adjusted, _SPENT, 7.3, 0.103)


def values(ground: Ground) -> Table:
    """Return the coverage of means, ratios and adjusted means."""
    cells = [
        (cell, share, units) for cell in cells_of_values() for share in (0.5, 0.1) for units in (1_000, 3_000)
    ]
    return Table(
        "Coverage of 95 % intervals: means, ratios, CUPED",
        f"""One planned look; the treatment's mean is 20 % lower. The difference is Welch's. Limit:
{100 * AT_LEAST:g} % or more, where the smaller variant expects {MANY} units or more whose value is not
zero and, unless the split is even, {PER_SKEWNESS} times its squared skewness (a published rule of
thumb). Elsewhere, in italics, the mean is not near enough to normal and nothing is promised: a tenth
of the traffic and a heavy tail cost coverage, however correct the variance.""",
        ("metric, split, units", "difference", "lift, Fieller", "lift, delta"),
        tuple(_value(ground, *cell) for cell in cells),
    )


def _value(ground: Ground, cell: Cell, share: float, units: int) -> Row:
    name = f"{cell.name}: {cell.population.name}, {split_in_words(share)}, {units:,}"
    chance = ground.chance("coverage", name)
    watched = of_values(cell.population)(chance, ground.runs(VALUE_RUNS), planned(share, units), 1.0 + LIFT)
    limit = AT_LEAST if cell.is_promised(units, share) else None
    return Row(name, _covered(watched, _Truth(LIFT * cell.mean, cell.make, limit)))


def quantiles(ground: Ground) -> Table:
    """Return the coverage of one variant's quantile by order statistics."""
    return Table(
        "Coverage of 95 % intervals: quantiles",
        """One variant, one planned look, order statistics, the sketch's error included: exact, so the
limit is 95 %.""",
        ("units", "median", "90 %", "99 %"),
        tuple(_quantile(ground, units) for units in (200, 1_000)),
    )


def _quantile(ground: Ground, units: int) -> Row:
    runs = ground.runs(QUANTILE_RUNS)
    chance = ground.chance("coverage of quantiles", units)
    held = dict.fromkeys(_SHARES, 0)
    for _ in range(runs):
        grains, _ = of.LOGNORMAL.draw(chance, np.ones(units))
        sketch = sketch_of(grains * of.LOGNORMAL.grain)
        for share in _SHARES:
            found = quantile_interval(sketch, Asked(share, Tuning(ALPHA), Look.PLANNED))
            # Without an interval nothing is excluded.
            truth = math.exp(3.0 + float(ndtri(share)))
            held[share] += isinstance(found, NotEnough) or found.lower <= truth <= found.upper
    return Row(f"{units:,}", tuple(Claim(each, runs, 1.0 - ALPHA, at_most=False) for each in held.values()))
