"""The job as data: a seeded log of exposures and conversions, and what is true of it.

The truth is worked out here from plain lists, by none of the programs under test. Times are whole
milliseconds, values whole cents, so every sum is an exact integer of micro-units.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from schemas.experiments import (
    Experiment,
    ExperimentState,
    Metric,
    MetricKind,
    MetricRole,
    Policy,
    Variant,
)

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
EXPERIMENTS = ("checkout", "ranking", "pricing")
VARIANTS = ("control", "treatment")
CONVERSION = "purchase"
METRIC = "revenue"
WINDOW_MS = 2 * HOUR_MS
"""A conversion counts from the first exposure to this much later, both ends included."""
SPAN_MS = 12 * HOUR_MS
SESSION_MS = 5 * MINUTE_MS
"""A unit meets all experiments within so long."""
UNITS, EXPOSURES, CONVERSIONS = 100_000, 1_000_000, 300_000
DUPLICATES, EARLY, CROSSED, LATE = 0.01, 0.02, 0.001, 0.05
"""Shares: of records that repeat an event id; of conversions before the exposure; of units that meet a second
variant; of records that reach the log up to a minute late."""
MICRO_PER_CENT = 10_000
MICRO = 1_000_000

Figures = tuple[int, int, int, int]
"""Of one variant: units, conversions, sum and sum of squares over units, in micro-units."""
Truth = dict[str, Figures]
"""By `experiment/variant`."""


class ExposureFact(NamedTuple):
    """A unit met a variant."""

    arrives_ms: int
    at_ms: int
    event_id: str
    unit_id: str
    experiment: str
    variant: str

    def to_json(self) -> bytes:
        """Return the record, as `schemas.facts.Exposure` reads it."""
        return (
            f'{{"type":"exposure","event_id":"{self.event_id}","occurred_at_ms":{self.at_ms},'
            f'"unit_id":"{self.unit_id}","experiment_id":"{self.experiment}","variant":"{self.variant}",'
            '"revision":1}'
        ).encode()


class ConversionFact(NamedTuple):
    """A unit bought something."""

    arrives_ms: int
    at_ms: int
    event_id: str
    unit_id: str
    cents: int

    def to_json(self) -> bytes:
        """Return the record, as `schemas.facts.Conversion` reads it."""
        return (
            f'{{"type":"conversion","event_id":"{self.event_id}","occurred_at_ms":{self.at_ms},'
            f'"unit_id":"{self.unit_id}","name":"{CONVERSION}","value":{self.cents / 100:.2f}}}'
        ).encode()


@dataclass(frozen=True, slots=True)
class World:
    """The log in order of arrival, and what is true of it."""

    exposures: list[ExposureFact]
    conversions: list[ConversionFact]
    truth: Truth
    start_ms: int

    @property
    def events(self) -> int:
        """All records, duplicates included."""
        return len(self.exposures) + len(self.conversions)


def make_world(*, scale: float, seed: int, start_ms: int) -> World:
    """Return the job, `scale` times its full size. The same arguments give the same world."""
    maker = _Maker(random.Random(seed), max(int(UNITS * scale), 10), start_ms)
    exposures = maker.exposures(max(int(EXPOSURES * scale), 100))
    conversions = maker.conversions(max(int(CONVERSIONS * scale), 30))
    exposures.sort()
    conversions.sort()
    return World(exposures, conversions, truth_of(exposures, conversions), start_ms)


def definitions(start_ms: int) -> Iterator[Experiment]:
    """Yield the experiments of the job: each with one metric, the revenue per unit."""
    for key in EXPERIMENTS:
        yield Experiment(
            experiment_id=key,
            variants=tuple(Variant(key=variant) for variant in VARIANTS),
            control=VARIANTS[0],
            metrics=(
                Metric(
                    name=METRIC,
                    conversion=CONVERSION,
                    kind=MetricKind.MEAN,
                    role=MetricRole.GOAL,
                    window_ms=WINDOW_MS,
                ),
            ),
            policy=Policy(automatic_rollback=False, automatic_ramp=False),
            state=ExperimentState.RUNNING,
            revision=1,
            stage_started_at_ms=start_ms,
            created_at_ms=start_ms,
            started_at_ms=start_ms,
            updated_at_ms=start_ms,
            changed_by="benchmark",
            reason="the job",
        )


def truth_of(exposures: list[ExposureFact], conversions: list[ConversionFact]) -> Truth:
    """Return what is true of these facts, whatever their order."""
    first: dict[tuple[str, str], int] = {}
    met: dict[tuple[str, str], set[str]] = {}
    for each in exposures:
        place = (each.unit_id, each.experiment)
        first[place] = min(each.at_ms, first.get(place, each.at_ms))
        met.setdefault(place, set()).add(each.variant)
    bought: dict[str, list[ConversionFact]] = {}
    for fact in {fact.event_id: fact for fact in conversions}.values():
        bought.setdefault(fact.unit_id, []).append(fact)
    sums = {f"{key}/{variant}": [0, 0, 0, 0] for key in EXPERIMENTS for variant in VARIANTS}
    for (unit_id, experiment), variants in met.items():
        if len(variants) > 1:
            continue
        since_ms = first[unit_id, experiment]
        counted = [fact.cents for fact in bought.get(unit_id, ()) if 0 <= fact.at_ms - since_ms <= WINDOW_MS]
        total = sum(counted) * MICRO_PER_CENT
        figures = sums[f"{experiment}/{min(variants)}"]
        for index, add in enumerate((1, len(counted), total, total * total)):
            figures[index] += add
    return {key: (units, found, total, squares) for key, (units, found, total, squares) in sums.items()}


class _Maker:
    """Draws the facts of one world."""

    def __init__(self, rng: random.Random, units: int, start_ms: int) -> None:
        self._rng = rng
        self._units = [f"user-{rng.getrandbits(40):010x}-{number:06d}" for number in range(units)]
        self._began_ms = [start_ms + HOUR_MS + int(rng.random() * SPAN_MS) for _ in self._units]
        self._variants = [tuple(rng.choice(VARIANTS) for _ in EXPERIMENTS) for _ in self._units]
        self._end_ms = start_ms + HOUR_MS + SPAN_MS

    def exposures(self, wanted: int) -> list[ExposureFact]:
        """One for each unit and experiment, then repeated ones, then duplicates."""
        distinct = wanted - int(wanted * DUPLICATES)
        places = [(unit, index) for unit in range(len(self._units)) for index in range(len(EXPERIMENTS))]
        facts = [self._exposure(*place, self._began_ms[place[0]], SESSION_MS) for place in places[:distinct]]
        for _ in range(distinct - len(facts)):
            unit, index = self._rng.choice(places)
            since_ms = self._began_ms[unit] + SESSION_MS
            facts.append(self._exposure(unit, index, since_ms, max(self._end_ms - since_ms, 1)))
        crossing = self._rng.sample(range(len(facts)), max(int(len(self._units) * CROSSED), 1))
        for place in crossing:
            other = VARIANTS[1 - VARIANTS.index(facts[place].variant)]
            facts[place] = facts[place]._replace(variant=other)
        again = self._rng.sample(facts, wanted - distinct)
        return facts + [each._replace(arrives_ms=self._later(each.arrives_ms)) for each in again]

    def conversions(self, wanted: int) -> list[ConversionFact]:
        """Most of them within the window, some beyond it, some before the exposure, some twice."""
        distinct = wanted - int(wanted * DUPLICATES)
        facts = [self._conversion() for _ in range(distinct)]
        again = self._rng.sample(facts, wanted - distinct)
        return facts + [each._replace(arrives_ms=self._later(each.arrives_ms)) for each in again]

    def _exposure(self, unit: int, index: int, since_ms: int, within_ms: int) -> ExposureFact:
        at_ms = since_ms + int(self._rng.random() * within_ms)
        return ExposureFact(
            self._arrival(at_ms),
            at_ms,
            self._event_id(),
            self._units[unit],
            EXPERIMENTS[index],
            self._variants[unit][index],
        )

    def _conversion(self) -> ConversionFact:
        unit = self._rng.randrange(len(self._units))
        if self._rng.random() < EARLY:
            at_ms = self._began_ms[unit] - 1 - int(self._rng.random() * 30 * MINUTE_MS)
        else:
            at_ms = self._began_ms[unit] + SESSION_MS + int(self._rng.expovariate(1 / (40 * MINUTE_MS)))
        cents = 100 + int(self._rng.expovariate(1 / 8_000))
        return ConversionFact(self._arrival(at_ms), at_ms, self._event_id(), self._units[unit], cents)

    def _event_id(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"

    def _arrival(self, at_ms: int) -> int:
        return self._later(at_ms) if self._rng.random() < LATE else at_ms

    def _later(self, at_ms: int) -> int:
        return at_ms + int(self._rng.random() * MINUTE_MS)
