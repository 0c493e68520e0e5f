"""The sequential sample-ratio test: how often it alarms for nothing, and how soon it finds a mismatch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from benchmarks.simulate.arrays import Mask
from benchmarks.simulate.chances import Ground
from benchmarks.simulate.claims import Claim, Row, Table
from benchmarks.simulate.detection import AT_LEAST, GROWTH, detected
from benchmarks.simulate.populations import Floats, Ints
from benchmarks.simulate.streams import Schedule, schedule
from benchmarks.simulate.watching import NEVER, Disagreement
from libs.statistics.sample_ratio import (
    MISMATCH_DEVIATION,
    MISMATCH_P,
    largest_deviation,
    log_bayes_factor,
)

Shares = tuple[float, ...]
RUNS = 20_000
FOUND_RUNS = 1_000
UNITS = 20_000
HORIZON = 4_000_000
_AT_ONCE = 1_000
_PICKED = 20
LENIENT_P = 0.05


@dataclass(frozen=True, slots=True)
class Watched:
    """The running p-value as a logarithm and the largest deviation, by run and look."""

    log_p: Floats
    deviation: Floats

    @property
    def reported(self) -> Mask:
        """Return where the product reports a mismatch: the p-value has been small, the deviation is large."""
        return np.asarray((self.log_p < np.log(MISMATCH_P)) & (self.deviation > MISMATCH_DEVIATION))


def watch(chance: np.random.Generator, runs: int, when: Schedule, shares: tuple[Shares, Shares]) -> Watched:
    """Return runs in which units come by the first shares and are expected by the second.

    The product is asked at looks picked by lot. Raises Disagreement.
    """
    true, expected = shares
    batches = chance.multinomial(when.sizes, true, (runs, len(when.sizes)))
    counts: Ints = np.cumsum(batches, axis=1)
    log_bf = gammaln(len(expected)) - gammaln(len(expected) + when.ends) + gammaln(1.0 + counts).sum(axis=2)
    log_bf = log_bf - counts @ np.log(expected)
    deviation = np.abs(counts / when.ends[:, None] - np.array(expected)).max(axis=2)
    _agree(counts, expected, log_bf, deviation)
    return Watched(np.minimum.accumulate(-np.maximum(log_bf, 0.0), axis=1), deviation)


def _agree(counts: Ints, expected: Shares, log_bf: Floats, deviation: Floats) -> None:
    due = {str(at): share for at, share in enumerate(expected)}
    picked = np.random.default_rng(counts.shape[1]).integers(0, counts.shape[:2], (_PICKED, 2))
    for run, look in picked.tolist():
        observed = {str(at): count for at, count in enumerate(counts[run, look].tolist())}
        said, off = log_bayes_factor(observed, due), largest_deviation(observed, due)
        if abs(said - log_bf[run, look]) > 1e-5 or abs(off - deviation[run, look]) > 1e-9:
            raise Disagreement(f"sample ratio: run {run}, look {look}: {said:.6g}, {log_bf[run, look]:.6g}")


EXPECTED: tuple[Shares, ...] = (
    (0.5, 0.5),
    (0.9, 0.1),
    (0.99, 0.01),
    (1 / 3, 1 / 3, 1 / 3),
    (0.6, 0.1, 0.1, 0.1, 0.1),
)


def _in_words(shares: Shares) -> str:
    return "/".join(f"{100 * share:.3g}" for share in shares)


def false_alarms(ground: Ground) -> Table:
    """Return the alarms on splits that are as configured."""
    return Table(
        "Sample ratio: alarms on a split that is right",
        f"""Looked at after every batch of 50 to 100 units up to {UNITS:,}. *Reported* is what results and
alerts say: p below {MISMATCH_P} and some share off by more than {100 * MISMATCH_DEVIATION:g} points. Limits:
each column's own level.""",
        ("shares", f"p < {LENIENT_P}", f"p < {MISMATCH_P}", "reported"),
        tuple(_false_alarm(ground, each) for each in EXPECTED),
    )


def _false_alarm(ground: Ground, shares: Shares) -> Row:
    runs = ground.runs(RUNS)
    chance = ground.chance("splits", _in_words(shares))
    when = schedule(chance, 0.5, UNITS)
    alarms = np.zeros(3, np.int64)
    for start in range(0, runs, _AT_ONCE):
        found = watch(chance, min(_AT_ONCE, runs - start), when, (shares, shares))
        last = found.log_p[:, -1]
        alarms += [(last < np.log(p)).sum() for p in (LENIENT_P, MISMATCH_P)] + [
            found.reported.any(axis=1).sum()
        ]
    levels = (LENIENT_P, MISMATCH_P, MISMATCH_P)
    return Row(
        _in_words(shares),
        tuple(Claim(int(each), runs, level) for each, level in zip(alarms, levels, strict=True)),
    )


def _mismatches() -> Iterator[tuple[str, Shares, Shares, bool]]:
    """What went wrong, the true shares, the configured ones, and whether it must be reported."""
    yield "1 point: 49/51 for 50/50", (0.49, 0.51), (0.5, 0.5), True
    yield "5 points: 45/55 for 50/50", (0.45, 0.55), (0.5, 0.5), True
    yield "1 point: 89/11 for 90/10", (0.89, 0.11), (0.9, 0.1), True
    yield "5 points: 85/15 for 90/10", (0.85, 0.15), (0.9, 0.1), True
    for lost, held in ((0.01, False), (0.05, True)):
        kept = 1.0 - lost
        true = (1.0 / (1.0 + kept), kept / (1.0 + kept))
        yield f"{100 * lost:g} % of the treatment's units lost, 50/50", true, (0.5, 0.5), held


def mismatches(ground: Ground) -> Table:
    """Return how soon a mismatch is found."""
    return Table(
        "Sample ratio: time to find a mismatch",
        f"""Up to {HORIZON:,} units; batches of 50 to 100, or of {100 * GROWTH:g} % of the units so far.
The share of runs that find it, and the median of the units until then. Limit: reported in
{100 * AT_LEAST:g} % of the runs. Not held to it: losing 1 % of one variant's units at 50/50 moves its
share by a quarter of a point. The test finds that, but it is below the threshold for display, on
purpose: p says that it is there, `observed` shows how little it is.""",
        ("mismatch", f"p < {MISMATCH_P}", "reported"),
        tuple(_mismatch(ground, *each) for each in _mismatches()),
    )


def _mismatch(ground: Ground, name: str, true: Shares, expected: Shares, held: bool) -> Row:
    runs = ground.runs(FOUND_RUNS)
    chance = ground.chance("mismatches", name)
    when = schedule(chance, 0.5, HORIZON, GROWTH)
    found = watch(chance, runs, when, (true, expected))
    low = found.log_p < np.log(MISMATCH_P)
    first = [np.where(each.any(axis=1), each.argmax(axis=1), NEVER) for each in (low, found.reported)]
    return Row(name, (detected(first[0], when, held=False), detected(first[1], when, held=held)))
