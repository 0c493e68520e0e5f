"""Quantiles without any effect, watched after every batch: counted in the product's own bins."""

from dataclasses import dataclass

import numpy as np

from benchmarks.simulate import populations as of
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.false_alarms import ALPHA, UNITS, split_in_words
from benchmarks.simulate.populations import Floats, Ints, Population
from benchmarks.simulate.streams import Schedule, schedule
from benchmarks.simulate.watching import NEVER, Disagreement
from libs.statistics.binomial_mixtures import Mixture
from libs.statistics.comparisons import Answer, Question
from libs.statistics.quantile_comparisons import compare_quantiles
from libs.statistics.quantile_sketch import range_of
from libs.statistics.quantiles import Asked
from libs.statistics.sequences import Tuning

RUNS = 400
_AT_ONCE = 50
_MOST_BINS = 1_400
_EVERY = 10
"""Looks between two at which the product is asked in any case."""
_MOST_ASKED = 2
_ASKED = Question(proportion=False)
_BIN_ENDS = np.array([range_of(key).high for key in range(1, _MOST_BINS)], np.int64)


@dataclass(frozen=True, slots=True)
class Cell:
    """Which quantile of what, and the treatment's share."""

    population: Population
    quantile: float
    share: float

    @property
    def name(self) -> str:
        """Return the cell's name in tables and seeds."""
        return f"{100 * self.quantile:g} % of {self.population.name}, {split_in_words(self.share)}"


CELLS = (
    Cell(of.LOGNORMAL, 0.5, 0.5),
    Cell(of.LOGNORMAL, 0.9, 0.5),
    Cell(of.LOGNORMAL, 0.99, 0.5),
    Cell(of.LOGNORMAL, 0.9, 0.1),
    Cell(of.BUYERS_5, 0.97, 0.5),
)


def quantiles(ground: Ground) -> Table:
    """Return the false alarms of quantiles."""
    return Table(
        "Quantiles without any effect",
        f"""Both variants do the same; one looks after every batch, up to {UNITS:,} units in all, at the
counts in the sketch's bins. The intervals are exact, a union of two, and reach to the far ends of the
bins: they err far less often than they may. Limit: alpha, {100 * ALPHA:g} %.""",
        ("quantile", "harm ↑", "harm ↓", "excludes 0"),
        tuple(_row(ground, cell) for cell in CELLS),
    )


def _row(ground: Ground, cell: Cell) -> Row:
    runs = ground.runs(RUNS)
    chance = ground.chance("quantiles", cell.name)
    looks = first_alarms(chance, runs, cell, schedule(chance, cell.share, UNITS))
    fired = (looks != NEVER).sum(axis=1)
    return Row(cell.name, tuple(Claim(int(each), runs, ALPHA) for each in fired))


def first_alarms(
    chance: np.random.Generator, runs: int, cell: Cell, when: Schedule, factor: float = 1.0
) -> Ints:
    """Return the look at which harm up, harm down and "excludes 0" first fire in each run, or `NEVER`.

    The treatment's values are multiplied by `factor`. Raises Disagreement.
    """
    watch = _Watch(cell, when)
    parts = [watch.first(chance, min(_AT_ONCE, runs - start), factor) for start in range(0, runs, _AT_ONCE)]
    return np.concatenate(parts, axis=1)


class _Watch:
    """One cell's looks: the ranks of all bounds rest on the numbers of units alone, and are found once."""

    def __init__(self, cell: Cell, when: Schedule) -> None:
        self._cell, self._ends = cell, when.ends
        ones = np.floor(when.ends * cell.share + 1e-9).astype(np.int64)
        self._units = (ones, when.ends - ones)
        tuning = _ASKED.tuning
        mixture = Asked(cell.quantile, Tuning(tuning.alpha, tuning.tuned_units // 2)).mixture
        # Of four bounds each has a quarter of alpha, of two (one-sided) a half.
        self._ranks = [
            [_ranks(mixture, units, tuning.alpha / part) for part in (4, 2)] for units in self._units
        ]

    def first(self, chance: np.random.Generator, runs: int, factor: float) -> Ints:
        """Return the first alarms of so many new runs."""
        y, _ = self._cell.population.draw(chance, np.tile(self._factors(factor), (runs, 1)))
        bins = _bins(y * self._cell.population.grain)
        lowest = int(bins.min())
        counts = np.zeros((2, runs, int(bins.max()) - lowest + 1), np.int64)
        first = np.full((3, runs), NEVER)
        start = 0
        for look, end in enumerate(self._ends.tolist()):
            middle = start + int(self._units[0][look] - (self._units[0][look - 1] if look else 0))
            for arm, part in enumerate((bins[:, start:middle], bins[:, middle:end])):
                counts[arm] += _histogram(part - lowest, counts.shape[2])
            now = self._look(look, counts)
            self._agree(look, now, counts, lowest)
            first = np.where((first == NEVER) & (now > 0), look, first)
            start = end
        return first

    def _factors(self, factor: float) -> Floats:
        """The treated come first in every batch: values are independent, so their order says nothing."""
        ones = np.diff(self._units[0], prepend=0)
        sizes = np.diff(self._ends, prepend=0)
        treated = np.repeat(
            np.tile([True, False], len(sizes)), np.stack([ones, sizes - ones], axis=1).ravel()
        )
        return np.where(treated, factor, 1.0)

    def _look(self, look: int, counts: Ints) -> Ints:
        """Whether each fires in each run now: two bounds are apart exactly when their bins are."""
        ranks = [[each[look] for each in levels] for levels in self._ranks]
        few = min(int(units[look]) for units in self._units) < _ASKED.burn_in_units
        if few or not np.all(ranks):
            return np.zeros((3, counts.shape[1]), np.int64)
        (wide1, narrow1), (wide0, narrow0) = (
            [[(filled < rank).sum(axis=1) for rank in level] for level in levels]
            for filled, levels in zip(np.cumsum(counts, axis=2), ranks, strict=True)
        )
        apart = (wide1[0] > wide0[1]) | (wide1[1] < wide0[0])
        return np.array([narrow1[1] < narrow0[0], narrow1[0] > narrow0[1], apart], np.int64)

    def _agree(self, look: int, now: Ints, counts: Ints, lowest: int) -> None:
        """Ask the product in a run of some looks, and in some runs where something fires.

        Raises Disagreement.
        """
        runs = set() if look % _EVERY else {look % counts.shape[1]}
        runs |= set(np.flatnonzero(now.any(axis=0)).tolist()[:_MOST_ASKED])
        for run in sorted(runs):
            treatment, control = (_sketch(each[run], lowest) for each in counts)
            said = _said(treatment, control, self._cell.quantile)
            if said != [bool(each) for each in now[:, run]]:
                raise Disagreement(f"{self._cell.name}: run {run}, look {look}: {said}")


def _said(treatment: dict[int, int], control: dict[int, int], share: float) -> list[bool]:
    up = compare_quantiles(treatment, control, share, _ASKED)
    down = compare_quantiles(treatment, control, share, Question(proportion=False, better_when_higher=False))
    if not isinstance(up, Answer) or not isinstance(down, Answer):
        return [False] * 3
    return [up.harmful, down.harmful, not up.lower <= 0.0 <= up.upper]


def _bins(micros: Ints) -> Ints:
    """`quantile_sketch.bin_of` of values from 0 on."""
    return np.where(micros > 0, np.searchsorted(_BIN_ENDS, micros) + 1, 0)


def sketch_of(micros: Ints) -> dict[int, int]:
    """Return the product's sketch of values from 0 on, in micro-units."""
    keys, counts = np.unique(_bins(micros), return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def _ranks(mixture: Mixture, units: Ints, level: float) -> Ints:
    """The lower and the upper bound's rank by look; two zeros where there is none."""
    found = []
    for total in units.tolist():
        few = mixture.most_hits_that_are_too_few(total, level) if total else None
        many = mixture.fewest_hits_that_are_too_many(total, level) if total else None
        found.append((0, 0) if few is None or many is None else (few + 1, many))
    return np.array(found, np.int64)


def _histogram(bins: Ints, width: int) -> Ints:
    rows = np.arange(len(bins))[:, None] * width
    return np.bincount((bins + rows).ravel(), minlength=len(bins) * width).reshape(len(bins), width)


def _sketch(counts: Ints, lowest: int) -> dict[int, int]:
    return {lowest + at: count for at, count in enumerate(counts.tolist()) if count}
