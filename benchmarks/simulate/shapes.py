"""The known limit of what is asymptotic: the same mean of another shape, in a sparse and skewed value."""

from dataclasses import replace

import numpy as np

from benchmarks.simulate.arrays import MEANS
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.false_alarms import UNITS, asked, split_in_words
from benchmarks.simulate.populations import Drawn, Floats, Population
from benchmarks.simulate.rules import BREACH
from benchmarks.simulate.streams import schedule, watch_values
from benchmarks.simulate.watching import Watcher

RUNS = 1_000
BURN_INS = (100, 300, 1_000, 3_000)
_BUYERS = 0.05


def _reshaped(chance: np.random.Generator, factor: Floats) -> Drawn:
    """So many times the buyers, each of whom spends as many times less: the mean stays what it is."""
    buys = chance.random(factor.shape) < _BUYERS * factor
    value = np.zeros(factor.shape, np.int64)
    spent = np.exp(3.0 + chance.standard_normal(int(buys.sum()))) / factor[buys]
    value[buys] = np.rint(100.0 * spent).astype(np.int64)
    return value, None


RESHAPED = Population("5 % buy, lognormal(3, 1), reshaped", _reshaped)
SHAPES = (
    (0.5, "half as many buy twice as much"),
    (0.2, "a fifth as many buy five times as much"),
    (2.0, "twice as many buy half as much"),
)


def shapes(ground: Ground) -> Table:
    """Return the false rollbacks of a mean that does not differ, where its distribution does."""
    return Table(
        "Known limit: the same mean of another shape",
        f"""A spending that 5 % of the control's units have, skewed, and a treatment with the same mean:
fewer units spend more, or more spend less. Rolled back ↑ up to {UNITS:,} units, by the burn-in in units
per variant (a policy's `burn_in_units`, 100 by default). No harm is done, but until enough of the rare
large values have come the treatment's mean **and its variance** are both too low, and an asymptotic
interval can't know. So these figures are held to nothing, and **they exceed alpha where few large
values carry the mean**. Judge such a metric by a proportion, or give it a burn-in by which a variant
can expect some hundred values other than zero.""",
        ("treatment, split", *(f"burn-in {each:,}" for each in BURN_INS)),
        tuple(_row(ground, factor, words, share) for factor, words in SHAPES for share in (0.5, 0.1)),
    )


def _row(ground: Ground, factor: float, words: str, share: float) -> Row:
    runs = ground.runs(RUNS)
    chance = ground.chance("shapes", factor, share)
    watched = watch_values(chance, runs, schedule(chance, share, UNITS), RESHAPED, factor)
    watcher, question = Watcher.of(watched, MEANS), asked(MEANS)
    cells: list[Claim | str] = []
    for burn_in in BURN_INS:
        alarms = watcher.alarms(BREACH, replace(question, burn_in_units=burn_in))
        cells.append(Claim(alarms, runs) if share * UNITS > burn_in else "not reached")
    return Row(f"{words}, {split_in_words(share)}", tuple(cells))
