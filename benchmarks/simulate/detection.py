"""True harm, watched after every batch: how often is it found, and after how many units?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.simulate import populations as of
from benchmarks.simulate.arrays import ADJUSTED, MEANS, RATES, RATIOS, Method
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.false_alarms import ALPHA, asked, split_in_words
from benchmarks.simulate.populations import Ints
from benchmarks.simulate.quantile_alarms import Cell as QuantileCell
from benchmarks.simulate.quantile_alarms import first_alarms
from benchmarks.simulate.rules import BREACH, HARM
from benchmarks.simulate.small_counts import Counts
from benchmarks.simulate.streams import Schedule, Watch, of_rate, of_values, schedule, watch_rates
from benchmarks.simulate.watching import NEVER, Watcher
from libs.statistics.proportions import Split

HARMS = (0.02, 0.05, 0.10, 0.20)
RUNS = 300
GROWTH = 0.005
AT_LEAST = 0.95
"""Share of runs that must find harm of 20 % where the cell is held to it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is measured, on whom, and for how long."""

    method: Method
    kind: str
    watch: Watch
    share: float
    horizon: int
    held: bool = True
    """Whether harm of 20 % must be found within the horizon."""

    @property
    def name(self) -> str:
        """Return the cell's name in tables and seeds."""
        return f"{self.method.name}: {self.kind}, {split_in_words(self.share)}, {self.horizon:,} units"


def cells() -> Iterator[Cell]:
    """Yield metrics that are quick to judge, and slow ones."""
    yield Cell(RATES, "1 %", of_rate(0.01), 0.5, 1_000_000)
    yield Cell(RATES, "5 %", of_rate(0.05), 0.5, 1_000_000)
    yield Cell(RATES, "5 %", of_rate(0.05), 0.1, 1_000_000)
    yield Cell(RATES, "50 %", of_rate(0.5), 0.5, 1_000_000)
    yield Cell(MEANS, of.NORMAL.name, of_values(of.NORMAL), 0.5, 50_000)
    yield Cell(MEANS, of.LOGNORMAL.name, of_values(of.LOGNORMAL), 0.5, 100_000)
    yield Cell(MEANS, of.BUYERS_5.name, of_values(of.BUYERS_5), 0.5, 100_000, held=False)
    yield Cell(RATIOS, of.CLICKS.name, of_values(of.CLICKS), 0.5, 50_000)
    yield Cell(MEANS, of.STEADY.name, of_values(of.STEADY), 0.5, 20_000)
    yield Cell(ADJUSTED, of.STEADY.name, of_values(of.STEADY), 0.5, 20_000)


def harms(ground: Ground) -> Table:
    """Return how soon true harm is found, by the guardrail and by the evidence of harm alone."""
    rows = [row for cell in cells() for row in _rows(ground, cell)]
    return Table(
        "Power and time to detection",
        f"""The treatment is worse by 2 to 20 % of the mean. One looks after every batch of 50 to 100
units, or of {100 * GROWTH:g} % of the units so far if that is more, with the defaults of a policy. A cell
says in which share of the runs it was found within the units that the row names, and the median over
all runs of the units of both variants until then (—: found in fewer than half). *Rolled back* wants an
estimate worse than the margin of 10 %: harm within the margin is meant to be let pass, and is rolled
back only where an early estimate exaggerates it. *Harm* is the evidence without a margin. Limit: harm of
20 % is rolled back in {100 * AT_LEAST:g} % of the runs, except where few units carry the mean; the other
cells, in italics, are held to nothing.""",
        ("metric and rule", *(f"{100 * harm:g} % worse" for harm in HARMS)),
        (*rows, *_exact_rows(ground), _quantile_row(ground)),
    )


def _rows(ground: Ground, cell: Cell) -> Iterator[Row]:
    runs = ground.runs(RUNS)
    found: dict[str, list[Claim]] = {BREACH.name: [], HARM.name: []}
    for harm in HARMS:
        chance = ground.chance("detection", cell.name, harm)
        when = schedule(chance, cell.share, cell.horizon, GROWTH)
        watcher = Watcher.of(cell.watch(chance, runs, when, 1.0 - harm), cell.method)
        for rule in (BREACH, HARM):
            held = cell.held and rule is BREACH and harm == HARMS[-1]
            found[rule.name].append(detected(watcher.first_alarms(rule, asked(cell.method)), when, held=held))
    yield Row(f"{cell.name}: rolled back", tuple(found[BREACH.name]))
    yield Row(f"{cell.name}: harm", tuple(found[HARM.name]))


def detected(looks: Ints, when: Schedule, *, held: bool) -> Claim:
    """Return in which share of runs something was found, at these looks, and the median of the units."""
    found = looks != NEVER
    units = np.where(found, when.ends[looks], np.iinfo(np.int64).max)
    middle = int(np.sort(units)[(len(units) - 1) // 2])
    median = f"{middle:,}" if middle <= int(when.ends[-1]) else "—"
    limit = AT_LEAST if held else None
    return Claim(int(found.sum()), len(looks), limit, at_most=False, note=f", {median}")


def _exact_rows(ground: Ground) -> Iterator[Row]:
    runs, horizon = ground.runs(RUNS), 100_000
    for rate in (0.001, 0.01):
        cells_of_row = []
        for harm in HARMS:
            chance = ground.chance("exact detection", rate, harm)
            when = schedule(chance, 0.5, horizon, GROWTH)
            watched = watch_rates(chance, runs, when, (rate * (1.0 - harm), rate))
            lower = Counts(watched, Split(alpha=ALPHA)).fires()[1]
            looks = np.where(lower.any(axis=1), lower.argmax(axis=1), NEVER)
            cells_of_row.append(detected(looks, when, held=False))
        yield Row(f"exact test: {100 * rate:g} %, 50/50, {horizon:,} units: harm", tuple(cells_of_row))


def _quantile_row(ground: Ground) -> Row:
    runs, horizon = ground.runs(RUNS // 2), 20_000
    cell = QuantileCell(of.LOGNORMAL, 0.9, 0.5)
    found = []
    for harm in HARMS:
        chance = ground.chance("quantile detection", harm)
        when = schedule(chance, cell.share, horizon)
        looks = first_alarms(chance, runs, cell, when, 1.0 + harm)[1]
        found.append(detected(looks, when, held=False))
    return Row(f"quantile: {cell.name}, {horizon:,} units, lower is better: harm", tuple(found))
