"""A/A experiments watched after every batch: how often does what is called always valid err?"""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.simulate import populations as of
from benchmarks.simulate.arrays import ADJUSTED, MEANS, RATES, RATIOS, Method
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.rules import APPROVES, BREACH, DIFFERS, HARM, Rule, loses_lift
from benchmarks.simulate.streams import Watch, of_rate, of_values, schedule
from benchmarks.simulate.watching import Watcher
from libs.statistics.comparisons import Question
from libs.statistics.lifts import DELTA_FEWEST_ERRORS, VALUES_BURN_IN_UNITS, LiftMethod

ALPHA = 0.05
UNITS = 20_000
RUNS = 2_000
FEWER_RUNS = 800
LIFT_RUNS = 2_000
LIFTS = (
    (-0.5, LiftMethod.FIELLER),
    (-0.2, LiftMethod.FIELLER),
    (0.2, LiftMethod.FIELLER),
    (1.0, LiftMethod.FIELLER),
    (-0.2, LiftMethod.DELTA),
    (0.2, LiftMethod.DELTA),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One experiment: what is measured, on whom, and the treatment's share of the units."""

    method: Method
    kind: str
    watch: Watch
    share: float

    @property
    def name(self) -> str:
        """Return the cell's name in tables and seeds."""
        return f"{self.method.name}: {self.kind}, {split_in_words(self.share)}"


def split_in_words(share: float) -> str:
    """Return "50/50" or "90/10": control's share first."""
    return f"{100 * (1 - share):.0f}/{100 * share:.0f}"


def asked(method: Method, *, higher: bool = True) -> Question:
    """Return the question with the defaults of a policy: alpha 5 %, margin 10 %, tuned to 5,000 units."""
    return Question(proportion=method is RATES, better_when_higher=higher)


def cells() -> Iterator[Cell]:
    """Yield every kind of metric, evenly split and with a tenth of the units treated; some the other way."""
    for share in (0.5, 0.1):
        for rate in (0.001, 0.01, 0.05, 0.5):
            yield Cell(RATES, f"{100 * rate:g} %", of_rate(rate), share)
        for population in (of.NORMAL, of.LOGNORMAL, of.BUYERS_5, of.BUYERS_1):
            yield Cell(MEANS, population.name, of_values(population), share)
        yield Cell(RATIOS, of.CLICKS.name, of_values(of.CLICKS), share)
        for population in (of.STEADY, of.SPENDING):
            yield Cell(ADJUSTED, population.name, of_values(population), share)
    yield Cell(RATES, "1 %", of_rate(0.01), 0.9)
    yield Cell(MEANS, of.BUYERS_5.name, of_values(of.BUYERS_5), 0.9)


def rollbacks(ground: Ground) -> Table:
    """Return the false rollbacks, and the false alarms of what they rest on."""
    return Table(
        "False rollbacks without any effect",
        f"""Both variants do the same. One looks after every batch of 50 to 100 units, up to
{UNITS:,} units in all, with the defaults of a policy. *Rolled back* is the guardrail as the judge
applies it: the estimate is worse than the margin of 10 % **and** the one-sided always-valid bound
excludes "no harm". *Harm* is the second half alone, without a margin; *excludes 0* is the two-sided
interval of the results. ↑: higher values are better; ↓: lower ones. An error is one such look in the
whole run. Limit: alpha, {100 * ALPHA:g} %.""",
        ("metric", "rolled back ↑", "rolled back ↓", "harm ↑", "harm ↓", "excludes 0"),
        tuple(_rollback(ground, cell) for cell in cells()),
    )


def _rollback(ground: Ground, cell: Cell) -> Row:
    runs = ground.runs(RUNS)
    chance = ground.chance("rollbacks", cell.name)
    watched = cell.watch(chance, runs, schedule(chance, cell.share, UNITS), 1.0)
    watcher = Watcher.of(watched, cell.method)
    plans: tuple[tuple[Rule, bool], ...] = (
        (BREACH, True),
        (BREACH, False),
        (HARM, True),
        (HARM, False),
        (DIFFERS, True),
    )
    alarms = (watcher.alarms(rule, asked(cell.method, higher=up)) for rule, up in plans)
    return Row(cell.name, tuple(Claim(each, runs, ALPHA) for each in alarms))


def approvals(ground: Ground) -> Table:
    """Return how often harm of exactly the margin is called excluded."""
    return Table(
        "Harm of the margin, called excluded",
        """The treatment is worse by exactly the margin of 10 %. "Harm beyond the margin is excluded",
which is what a ramp on `positive` evidence goes on, is then an error wherever in the run it is said.
Limit: alpha.""",
        ("metric", "higher is better", "lower is better"),
        tuple(_approval(ground, cell) for cell in _some_cells()),
    )


def _some_cells() -> list[Cell]:
    kept = {"1 %", "5 %", "50 %", of.LOGNORMAL.name, of.BUYERS_5.name, of.CLICKS.name, of.SPENDING.name}
    return [cell for cell in cells() if cell.kind in kept and cell.share < 0.9]


def _approval(ground: Ground, cell: Cell) -> Row:
    runs = ground.runs(FEWER_RUNS)
    found = []
    for higher, factor in ((True, 0.9), (False, 1.1)):
        chance = ground.chance("approvals", cell.name, factor)
        watched = cell.watch(chance, runs, schedule(chance, cell.share, UNITS), factor)
        alarms = Watcher.of(watched, cell.method).alarms(APPROVES, asked(cell.method, higher=higher))
        found.append(Claim(alarms, runs, ALPHA))
    return Row(cell.name, tuple(found))


def lifts(ground: Ground) -> Table:
    """Return how often always-valid intervals of the relative lift lose the true one."""
    return Table(
        "Always-valid intervals of the relative lift",
        f"""The treatment is truly worse or better by so much. An error is one look at which the interval
of the relative lift is given and does not hold the true lift. The lift of anything but a proportion has
an interval only from {VALUES_BURN_IN_UNITS:,} units in the smaller variant on: from 100 on, skewed values
that truly double would lose it in up to 8 % of the runs. The difference is not kept waiting. Results
carry Fieller's; that of the delta method, for which the control's mean must be {DELTA_FEWEST_ERRORS:g}
standard errors away from 0, is offered by the library as always valid, too. Limit: alpha, for both.""",
        ("metric", *(f"{100 * lift:+g} %, {method.value}" for lift, method in LIFTS)),
        tuple(_lift(ground, cell) for cell in _some_cells()),
    )


def _lift(ground: Ground, cell: Cell) -> Row:
    runs = ground.runs(LIFT_RUNS)
    watchers = {}
    for lift in {lift for lift, _ in LIFTS}:
        chance = ground.chance("lifts", cell.name, lift)
        watched = cell.watch(chance, runs, schedule(chance, cell.share, UNITS), 1.0 + lift)
        watchers[lift] = Watcher.of(watched, cell.method)
    lost = (watchers[lift].alarms(loses_lift(lift, method), asked(cell.method)) for lift, method in LIFTS)
    return Row(cell.name, tuple(Claim(each, runs, ALPHA) for each in lost))
