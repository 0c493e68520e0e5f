"""True effects watched after every batch: how often does the interval of the difference lose their size?"""

from dataclasses import replace

from benchmarks.simulate import coverage
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.false_alarms import ALPHA, FEWER_RUNS, UNITS, Cell, asked, cells
from benchmarks.simulate.rules import loses_difference
from benchmarks.simulate.streams import schedule
from benchmarks.simulate.watching import Watcher

CLAIMED = (-0.2, 0.2)
SHOWN = (-0.5, 1.0)
"""Effects that are outside the claim."""
LONGER_BURN_IN = 1_000
_RATES = {"1 %": 0.01, "5 %": 0.05, "50 %": 0.5}


def differences(ground: Ground) -> Table:
    """Return how often always-valid intervals of the difference lose the true one."""
    return Table(
        "Always-valid intervals of the difference, with an effect",
        f"""The treatment is truly worse or better by so much of the mean. An error is one look at which
the two-sided interval of the difference, as results show it, does not hold the true difference. Limit:
alpha, for a fifth. **Outside the claim, shown and held to nothing**, in italics: a mean that halves or
doubles. The two variances then differ, and where few large values carry the mean the larger one is learnt
late: an unlucky start is sure of itself, and **the size of the effect is lost in more than alpha of the
runs**. Whether there is an effect, or harm, is another question: it is asked in the tables above, and
what acts rests on them. A policy's `burn_in_units` of {LONGER_BURN_IN:,} instead of 100 helps, as the
columns show.""",
        (
            "metric",
            *(f"{100 * lift:+g} %" for lift in CLAIMED),
            *(f"{100 * lift:+g} %, burn-in {each:,}" for lift in SHOWN for each in (100, LONGER_BURN_IN)),
        ),
        tuple(_row(ground, cell, mean) for cell, mean in _cells()),
    )


def _cells() -> list[tuple[Cell, float]]:
    """Every cell of a known mean, control's, and a tenth or half of the units treated."""
    means = _RATES | {each.population.name: each.mean for each in coverage.cells_of_values()}
    return [(cell, means[cell.kind]) for cell in cells() if cell.kind in means and cell.share < 0.9]


def _row(ground: Ground, cell: Cell, mean: float) -> Row:
    runs, question, found = ground.runs(FEWER_RUNS), asked(cell.method), []
    for lift in (*CLAIMED, *SHOWN):
        chance = ground.chance("effects", cell.name, lift)
        watched = cell.watch(chance, runs, schedule(chance, cell.share, UNITS), 1.0 + lift)
        watcher, rule = Watcher.of(watched, cell.method), loses_difference(lift * mean)
        if lift in CLAIMED:
            found.append(Claim(watcher.alarms(rule, question), runs, ALPHA))
            continue
        for units in (question.burn_in_units, LONGER_BURN_IN):
            found.append(Claim(watcher.alarms(rule, replace(question, burn_in_units=units)), runs))
    return Row(cell.name, tuple(found))
