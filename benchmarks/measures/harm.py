"""Traffic in which one experiment after the other has a variant that becomes harmful, and the first moment at
which the log proves it."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice

from benchmarks.measures.slices import Records, placed
from benchmarks.measures.traffic import PER_TICK, AnyFact
from benchmarks.measures.writer import TICK_MS
from benchmarks.world import CONVERSION, HOUR_MS, VARIANTS, ConversionFact, ExposureFact
from libs.common.clock import Clock
from libs.statistics.sums import MICRO, Sums
from schemas.experiments import (
    Experiment,
    ExperimentDefinition,
    Metric,
    MetricKind,
    MetricRole,
    Policy,
    Variant,
)
from services.metrics.domain.evidence import compare_all
from services.metrics.domain.totals import ExperimentTotals

METRIC = "buyers"
USUAL, HARMED = 0.5, 0.05
"""Shares of units that convert."""
FIRST_HARM_MS, NEXT_HARM_MS = 4_000, 400


def definition(key: str) -> ExperimentDefinition:
    """Return an experiment with one guardrail, that nothing but a rollback changes."""
    return ExperimentDefinition(
        experiment_id=key,
        variants=tuple(Variant(key=variant) for variant in VARIANTS),
        control=VARIANTS[0],
        metrics=(
            Metric(
                name=METRIC,
                conversion=CONVERSION,
                kind=MetricKind.PROPORTION,
                role=MetricRole.GUARDRAIL,
                window_ms=HOUR_MS,
            ),
        ),
        policy=Policy(automatic_ramp=False, ramp=()),
    )


Counts = dict[tuple[str, str], tuple[int, int]]
"""By experiment and variant: units, and units that converted."""


@dataclass(eq=False)
class Traffic:
    """New units in turn for each experiment, half of them in each variant."""

    keys: list[str]
    clock: Clock
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    counts: list[Counts] = field(default_factory=list)
    """After each tick."""
    _now: Counts = field(default_factory=dict)

    def ticks(self, seconds: float) -> Iterator[Records]:
        """Yield what comes in each tick; events happen when they are asked for."""
        facts = self._facts()
        for _ in range(round(seconds * 1_000 / TICK_MS)):
            tick = list(islice(facts, PER_TICK))
            self.counts.append(dict(self._now))
            yield placed(tick)

    def _facts(self) -> Iterator[AnyFact]:
        for number in count():
            place = number % len(self.keys)
            key, variant = self.keys[place], self.rng.choice(VARIANTS)
            unit, now_ms = f"user-{number:08d}", self.clock.now_ms()
            self._count(key, variant, units=1)
            yield ExposureFact(now_ms, now_ms, f"x-{unit}", unit, key, variant)
            if self.rng.random() < self._share(place, variant):
                self._count(key, variant, converted=1)
                yield ConversionFact(now_ms, now_ms, f"c-{unit}", unit, 100)

    def _share(self, place: int, variant: str) -> float:
        since_ms = FIRST_HARM_MS + place * NEXT_HARM_MS
        harmful = variant != VARIANTS[0] and len(self.counts) * TICK_MS >= since_ms
        return HARMED if harmful else USUAL

    def _count(self, key: str, variant: str, *, units: int = 0, converted: int = 0) -> None:
        before = self._now.get((key, variant), (0, 0))
        self._now[key, variant] = before[0] + units, before[1] + converted


def proven(experiment: Experiment, counts: list[Counts]) -> int | None:
    """Return the first tick after which the judge's own rule finds the guardrail breached in all that was
    appended so far; None when it never does."""
    for tick, each in enumerate(counts):
        if any(found.breached for found in compare_all(experiment, _totals(experiment.experiment_id, each))):
            return tick
    return None


def _totals(key: str, counts: Mapping[tuple[str, str], tuple[int, int]]) -> ExperimentTotals:
    sums = {}
    for variant in VARIANTS:
        units, converted = counts.get((key, variant), (0, 0))
        sums[variant, METRIC] = Sums(units, converted, converted * MICRO, converted * MICRO * MICRO)
    return ExperimentTotals({}, sums, multi_variant_units=0, latest_ms=0)
