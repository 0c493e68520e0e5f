"""Group-sequential plans without any effect: does any planned look cross its bound too often?"""

from dataclasses import dataclass

import numpy as np

from benchmarks.simulate import populations as of
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.populations import Floats
from benchmarks.simulate.streams import Schedule, Watched, of_rate, of_values
from benchmarks.simulate.watching import Disagreement
from libs.statistics.differences import Arms
from libs.statistics.fixed_horizon import mean_arms
from libs.statistics.group_sequential import (
    Classic,
    Plan,
    Spending,
    boundaries,
    classical_boundaries,
    equal_looks,
    look_at,
)

ALPHA = 0.05
WALKS = 200_000
RUNS = 10_000
UNITS = 2_000
WALK_LIMIT = ALPHA + 0.002
DATA_LIMIT = ALPHA + 0.01
_AT_ONCE = 20_000
_PICKED = 50


@dataclass(frozen=True, slots=True)
class Design:
    """A plan's name, when it looks and its bounds."""

    name: str
    fractions: tuple[float, ...]
    bounds: tuple[float, ...]
    plan: Plan | None = None
    """None for the classical ones."""

    def crossed(self, z: Floats) -> Floats:
        """Return which runs of z (runs by looks) cross at some look. Raises Disagreement."""
        outward = z if self.plan and not self.plan.two_sided else np.abs(z)
        crossed = outward >= np.array(self.bounds)
        if self.plan:
            for run in range(min(_PICKED, len(z))):
                for look in range(len(self.bounds)):
                    if look_at(self.plan, look + 1, float(z[run, look])).crossed != crossed[run, look]:
                        raise Disagreement(f"{self.name}: run {run}, look {look + 1}")
        return np.asarray(crossed.any(axis=1))


def designs() -> tuple[Design, ...]:
    """Return spending plans of few and many, even and uneven looks, and the classical ones."""
    uneven = (0.1, 0.15, 0.5, 0.8, 1.0)
    plans = {
        "O'Brien-Fleming type, 5 looks": Plan(equal_looks(5), ALPHA),
        "O'Brien-Fleming type, 10 looks": Plan(equal_looks(10), ALPHA),
        "O'Brien-Fleming type, uneven looks": Plan(uneven, ALPHA),
        "O'Brien-Fleming type, 5 looks, one-sided": Plan(equal_looks(5), ALPHA, two_sided=False),
        "Pocock type, 5 looks": Plan(equal_looks(5), ALPHA, Spending.POCOCK),
        "Pocock type, 10 looks": Plan(equal_looks(10), ALPHA, Spending.POCOCK),
        "Pocock type, uneven looks": Plan(uneven, ALPHA, Spending.POCOCK),
    }
    spent = [Design(name, plan.fractions, boundaries(plan), plan) for name, plan in plans.items()]
    classical = [
        Design(f"classical {name}, 5 looks", equal_looks(5), classical_boundaries(shape, 5, ALPHA))
        for name, shape in (("O'Brien-Fleming", Classic.OBRIEN_FLEMING), ("Pocock", Classic.POCOCK))
    ]
    return (*spent, *classical)


def type_one(ground: Ground) -> Table:
    """Return the type I error of every design: on normal walks, and on data."""
    found = designs()
    data = {fractions: _data(ground, fractions) for fractions in {each.fractions for each in found}}
    return Table(
        "Group-sequential plans: type I error",
        f"""The chance that any of the planned looks crosses its bound without any effect. *Walk*: z of a
normal walk, where the bounds should spend {100 * ALPHA:g} % exactly. The others: z = estimate / standard
error of {UNITS:,} units in all, halves. What is 5 % exactly can't be proved to be below 5 % by
sampling, so the limits are {100 * WALK_LIMIT:g} % for the walk and {100 * DATA_LIMIT:g} % for data,
whose z is only nearly normal at the first looks.""",
        ("plan", "walk", "proportion of 20 %", of.NORMAL.name, of.LOGNORMAL.name),
        tuple(_row(ground, each, data[each.fractions]) for each in found),
    )


def _row(ground: Ground, design: Design, data: tuple[Floats, ...]) -> Row:
    walks = ground.runs(WALKS)
    chance = ground.chance("walks", design.name)
    steps = np.sqrt(np.diff(design.fractions, prepend=0.0))
    crossed = 0
    for start in range(0, walks, _AT_ONCE):
        moves = chance.standard_normal((min(_AT_ONCE, walks - start), len(steps))) * steps
        crossed += int(design.crossed(np.cumsum(moves, axis=1) / np.sqrt(design.fractions)).sum())
    on_data = (Claim(int(design.crossed(z).sum()), len(z), DATA_LIMIT) for z in data)
    return Row(design.name, (Claim(crossed, walks, WALK_LIMIT), *on_data))


def _data(ground: Ground, fractions: tuple[float, ...]) -> tuple[Floats, ...]:
    """z of each population at these looks, in so many runs."""
    when = Schedule(0.5, np.array([round(UNITS * each) for each in fractions], np.int64))
    watches = (of_rate(0.2), of_values(of.NORMAL), of_values(of.LOGNORMAL))
    return tuple(
        _z(watch(ground.chance("looks", fractions, at), ground.runs(RUNS), when, 1.0))
        for at, watch in enumerate(watches)
    )


def _z(watched: Watched) -> Floats:
    """Estimate over standard error, each variant with its own variance, by the product's arms."""
    runs, looks = watched.shape
    found = np.zeros((runs, looks))
    for run in range(runs):
        for look in range(looks):
            both = mean_arms(*watched.sums(run, look))
            if isinstance(both, Arms) and both.variance > 0.0:
                found[run, look] = both.estimate / both.variance**0.5
    return found
