"""The exact test and interval of proportions, watched from the first conversion on, without any burn-in."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.simulate.arrays import RATES, Mask
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.false_alarms import ALPHA, UNITS, asked, split_in_words
from benchmarks.simulate.populations import Ints
from benchmarks.simulate.rules import HARM
from benchmarks.simulate.streams import Schedule, Watched, schedule, watch_rates
from benchmarks.simulate.watching import Disagreement, Watcher
from libs.statistics.binomial_mixtures import Mixture, Side
from libs.statistics.differences import NotEnough
from libs.statistics.proportions import (
    NORMAL_FROM_COUNT,
    Counted,
    Split,
    difference_interval,
    exact_test,
)

RUNS = 4_000
INTERVAL_RUNS = 400
_INTERVAL_LOOKS = 24
_PICKED = 200


@dataclass(frozen=True, slots=True)
class Counts:
    """Runs of a proportion, and how the exact test asks about them."""

    watched: Watched
    split: Split

    def fires(self) -> tuple[Mask, Mask, Mask]:
        """Return by run and look whether the test finds a difference, a lower rate, a higher rate.

        The bounds on the treatment's count are the product's own, found once for every total; its test is
        asked again at first alarms and at looks picked by lot. Raises Disagreement.
        """
        hits, trials = self._hits()
        mixture = Mixture.tuned_to(self.split.share, self.split.tuned_outcomes, self.split.alpha)
        totals = range(int(trials.max()) + 1)
        few, many = _one_sided(mixture, totals, self.split.alpha)
        low, high = _two_sided(mixture, totals, self.split.alpha)
        fewer, more = hits <= few[trials], hits >= many[trials]
        either = (hits <= low[trials]) | (hits >= high[trials])
        lower, higher = (fewer, more) if self.split.counted is Counted.CONVERSIONS else (more, fewer)
        self._agree(either, lower, higher)
        return either, lower, higher

    def _hits(self) -> tuple[Ints, Ints]:
        """The counted outcomes of the treatment, and of both."""
        one, zero = self.watched.treatment, self.watched.control
        if self.split.counted is Counted.CONVERSIONS:
            return one.converted, one.converted + zero.converted
        missed = one.units - one.converted
        return missed, missed + zero.units - zero.converted

    def _agree(self, *found: Mask) -> None:
        runs, looks = self.watched.shape
        level = -math.log(self.split.alpha)
        asked_at = np.random.default_rng(runs * looks).integers(0, (runs, looks), (_PICKED, 2)).tolist()
        for side in found:
            alarmed = np.flatnonzero(side.any(axis=1)).tolist()[:_PICKED]
            asked_at += [(run, int(side[run].argmax())) for run in alarmed]
        for run, look in asked_at:
            said = exact_test(*self.watched.sums(run, look), self.split)
            if isinstance(said, NotEnough):
                continue
            for log_e, side in zip((said.log_e, said.log_e_lower, said.log_e_higher), found, strict=True):
                if (log_e >= level) != side[run, look] and abs(log_e - level) > 1e-9:
                    raise Disagreement(f"exact test: run {run}, look {look}: ln E is {log_e:.6g}")


def _one_sided(mixture: Mixture, totals: range, alpha: float) -> tuple[Ints, Ints]:
    """At most so many hits are too few, at least so many too many; out of reach where nothing is."""
    few, many = [-1], [1]
    for total in totals[1:]:
        least = mixture.most_hits_that_are_too_few(total, alpha)
        most = mixture.fewest_hits_that_are_too_many(total, alpha)
        few.append(-1 if least is None else least)
        many.append(total + 1 if most is None else most)
    return np.array(few), np.array(many)


def _two_sided(mixture: Mixture, totals: range, alpha: float) -> tuple[Ints, Ints]:
    """The same for a difference either way: too many hits are too few misses."""
    mirrored = Mixture(1.0 - mixture.chance, mixture.strength)
    return _too_few(mixture, totals, alpha), np.array(totals) - _too_few(mirrored, totals, alpha)


def _too_few(mixture: Mixture, totals: range, alpha: float) -> Ints:
    """The largest count below the expected one that is found. It moves by little from total to total."""
    found = [-1]
    for total in totals[1:]:
        most, at = round(total * mixture.chance), found[-1]
        while at >= 0 and mixture.log_e(at, total, Side.EITHER) < -math.log(alpha):
            at -= 1
        while at < most and mixture.log_e(at + 1, total, Side.EITHER) >= -math.log(alpha):
            at += 1
        found.append(at)
    return np.array(found)


@dataclass(frozen=True, slots=True)
class Cell:
    """A true rate, the treatment's share, and what is counted."""

    rate: float
    share: float
    counted: Counted = Counted.CONVERSIONS

    @property
    def name(self) -> str:
        """Return the cell's name in tables and seeds."""
        return f"{100 * self.rate:g} %, {split_in_words(self.share)}, by {self.counted.value}"


def cells() -> Iterator[Cell]:
    """Yield small rates, a common one, and one that is judged by its misses."""
    for share in (0.5, 0.1, 0.9):
        for rate in (0.001, 0.01, 0.05):
            yield Cell(rate, share)
    yield Cell(0.99, 0.5, Counted.MISSES)
    yield Cell(0.99, 0.1, Counted.MISSES)


def tests(ground: Ground) -> Table:
    """Return the exact test's false alarms, and those of going over to the normal one when it is safe."""
    return Table(
        "The exact test of proportions at small counts, without any effect",
        f"""Looked at after every batch from the first unit on, up to {UNITS:,} units in all. *Then
normal*: the exact test until both variants can expect {NORMAL_FROM_COUNT} conversions and misses, the
normal sequence from there on, each at the whole alpha: only simulation bounds what that comes to.
Limit: alpha, {100 * ALPHA:g} %.""",
        ("rate", "difference", "lower rate", "higher rate", "lower, then normal", "higher, then normal"),
        tuple(_test(ground, cell) for cell in cells()),
    )


def _test(ground: Ground, cell: Cell) -> Row:
    runs = ground.runs(RUNS)
    chance = ground.chance("exact", cell.name)
    watched = watch_rates(chance, runs, schedule(chance, cell.share, UNITS), (cell.rate, cell.rate))
    either, lower, higher = Counts(watched, Split(cell.share, ALPHA, counted=cell.counted)).fires()
    then_lower = _handed_over(watched, lower, higher=True)
    then_higher = _handed_over(watched, higher, higher=False)
    alarms = (int(each.any(axis=1).sum()) for each in (either, lower, higher, then_lower, then_higher))
    return Row(cell.name, tuple(Claim(each, runs, ALPHA) for each in alarms))


def _handed_over(watched: Watched, exact: Mask, *, higher: bool) -> Mask:
    """The exact test's alarms where `normal_is_safe` says no, else those of the normal sequence."""
    one, zero = watched.treatment, watched.control
    rate = (one.converted + zero.converted) / (one.units + zero.units)
    fewest = np.minimum(one.units, zero.units)
    safe = fewest * np.minimum(rate, 1.0 - rate) >= NORMAL_FROM_COUNT
    question = asked(RATES, higher=higher)
    with np.errstate(divide="ignore", invalid="ignore"):
        normal = HARM.excess(Watcher.of(watched, RATES).pairs, question) > 0.0
    return np.where(safe, normal & (fewest >= question.burn_in_units), exact)


def intervals(ground: Ground) -> Table:
    """Return how often the exact interval of the difference loses the true one at some look."""
    return Table(
        "The exact interval of a difference of proportions",
        f"""An error is one look, of {_INTERVAL_LOOKS} from 20 to {UNITS:,} units, at which the interval
does not hold the true difference. The treatment's rate is half as high again as control's. It is a
union of two intervals and errs far less often than it may. Limit: alpha.""",
        ("control's rate", "difference lost"),
        tuple(_interval(ground, rate, share) for share in (0.5, 0.1) for rate in (0.001, 0.01, 0.05)),
    )


def _interval(ground: Ground, rate: float, share: float) -> Row:
    name = f"{100 * rate:g} %, {split_in_words(share)}"
    runs = ground.runs(INTERVAL_RUNS)
    when = Schedule(share, np.unique(np.geomspace(20, UNITS, _INTERVAL_LOOKS).astype(np.int64)))
    watched = watch_rates(ground.chance("exact interval", name), runs, when, (1.5 * rate, rate))
    return Row(name, (Claim(sum(_loses(watched, run, 0.5 * rate) for run in range(runs)), runs, ALPHA),))


def _loses(watched: Watched, run: int, truth: float) -> bool:
    for look in range(watched.shape[1]):
        found = difference_interval(*watched.sums(run, look), ALPHA)
        if not isinstance(found, NotEnough) and not found.lower <= truth <= found.upper:
            return True
    return False
