"""The merge over partitions, which is PostgreSQL's: rows drawn at random, written again and again through
ingest's store, come before the judge as the sums that Python makes of them."""

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from libs.common.clock import ManualClock, SystemClock
from libs.common.db.migrate import migrate
from libs.common.db.pool import Pool, connect
from libs.common.partitions.postgres import PostgresPartitionStore
from libs.statistics.sums import Sums
from schemas.experiments import Breakdown, Experiment, ExperimentState, Metric, MetricKind, Variant
from schemas.results import MAX_HOURS
from services.metrics.adapters.judgements import PostgresJudgements
from services.metrics.adapters.rows import write_rows
from services.metrics.bootstrap.ground import MIGRATIONS, SCHEMA
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.rows import (
    ExperimentRow,
    HourRow,
    MetricRow,
    PartitionRows,
    SegmentKind,
    SegmentRow,
    VariantRow,
)
from services.metrics.domain.totals import ExperimentTotals, SegmentKey, VariantTotals

HOUR_MS = 3_600_000
T0 = 472_222 * HOUR_MS
PARTITIONS, ROUNDS, HOURS = 4, 4, 80
KEYS = ("x", "another")
VARIANTS = ("a", "b", "not-defined")
METRICS = (
    Metric(name="revenue", conversion="purchase", kind=MetricKind.MEAN),
    Metric(name="typical", conversion="purchase", kind=MetricKind.QUANTILE, quantile=0.5),
    Metric(name="tail", conversion="visit", kind=MetricKind.QUANTILE, quantile=0.99),
)
QUANTILES = ("typical", "tail")
SEGMENTS = (
    (SegmentKind.VALUE, "Zürich"),
    (SegmentKind.VALUE, "a\0b\\"),
    (SegmentKind.OTHER, ""),
    (SegmentKind.MISSING, ""),
)
T = TypeVar("T")


def definition() -> Experiment:
    """Return experiment x, broken down by city."""
    return Experiment(
        experiment_id="x",
        variants=(Variant(key="a"), Variant(key="b")),
        control="a",
        metrics=METRICS,
        breakdowns=(Breakdown(attribute="city", values=("Zürich", "a\0b\\")),),
        state=ExperimentState.RUNNING,
        revision=1,
        stage_started_at_ms=T0,
        created_at_ms=T0,
        updated_at_ms=T0,
        changed_by="test",
        reason="test",
    )


@dataclass(frozen=True, slots=True)
class Draw:
    """Draws rows of one partition: whatever the tables can hold, more than 64 bits and nothing included."""

    chance: random.Random

    def row(self, key: str) -> ExperimentRow:
        """Return a row of some of the variants, metrics, hours and segments."""
        variants = self._some(VARIANTS)
        return ExperimentRow(
            experiment_id=key,
            multi_variant_units=self._count(),
            latest_ms=T0 + self._count(),
            variants=tuple(self._variant(key, each) for each in variants),
            metrics=tuple(
                self._metric(key, each, metric.name) for each in variants for metric in self._some(METRICS)
            ),
            hours=tuple(
                HourRow(key, each, T0 + number * HOUR_MS, *self._counts())
                for each in variants
                for number in self._some(range(HOURS))
            ),
            segments=tuple(
                self._segment(key, each, kind, value, metric.name)
                for each in variants
                for kind, value in self._some(SEGMENTS)
                for metric in self._some(METRICS)
            ),
        )

    def _some(self, things: Iterable[T]) -> list[T]:
        share = self.chance.choice((0.3, 0.7, 1.0))
        return [each for each in things if self.chance.random() < share]

    def _count(self) -> int:
        return self.chance.choice((0, 0, self.chance.randrange(100), self.chance.randrange(10**12)))

    def _counts(self) -> tuple[int, int, int]:
        return self._count(), self._count(), self._count()

    def _whole(self) -> int:
        size = self.chance.choice((0, 10**3, 10**18, 10**40))
        return self.chance.randint(-size, size)

    def _variant(self, key: str, variant: str) -> VariantRow:
        return VariantRow(key, variant, *self._counts(), T0 + self._count(), self._count())

    def _metric(self, key: str, variant: str, metric: str) -> MetricRow:
        sums = Sums(self._count(), self._count(), *(self._whole() for _ in range(5)))
        bins = self._some(range(-3, 4)) if metric in QUANTILES else []
        return MetricRow(key, variant, metric, sums, {each: 1 + self._count() for each in bins})

    def _segment(self, key: str, variant: str, kind: SegmentKind, value: str, metric: str) -> SegmentRow:
        sums = Sums(self._count(), self._count(), self._whole(), self._whole())
        return SegmentRow(key, variant, "city", kind, value, metric, sums)


@dataclass(slots=True)
class Latest:
    """What stands of experiment x in one partition: of every row the last."""

    several: int = 0
    latest_ms: int = 0
    variants: dict[str, VariantRow] = field(default_factory=dict)
    metrics: dict[tuple[str, str], MetricRow] = field(default_factory=dict)
    hours: dict[tuple[int, str], HourRow] = field(default_factory=dict)
    segments: dict[SegmentKey, Sums] = field(default_factory=dict)

    def write(self, row: ExperimentRow) -> None:
        """Take over what a row says; what it does not name stays."""
        self.several, self.latest_ms = row.multi_variant_units, row.latest_ms
        self.variants |= {each.variant: each for each in row.variants}
        self.metrics |= {(each.variant, each.metric): each for each in row.metrics}
        self.hours |= {(each.hour_ms, each.variant): each for each in row.hours}
        self.segments |= {
            SegmentKey(each.attribute, each.kind, each.value, each.variant, each.metric): each.sums
            for each in row.segments
        }


def merge(parts: Iterable[Latest], offsets: Mapping[str, int]) -> ExperimentTotals:
    """Return the totals over partitions: of times the latest, the sum of all others."""
    parts = list(parts)
    sums: dict[tuple[str, str], Sums] = {}
    sketches: dict[tuple[str, str], dict[int, int]] = {}
    segments: dict[SegmentKey, Sums] = {}
    for part in parts:
        for place, metric in part.metrics.items():
            sums[place] = sums.get(place, Sums()) + metric.sums
            for key, units in metric.sketch.items():
                sketch = sketches.setdefault(place, {})
                sketch[key] = sketch.get(key, 0) + units
        for where, found in part.segments.items():
            segments[where] = segments.get(where, Sums()) + found
    return ExperimentTotals(
        variants={
            each: _variant(each, parts) for each in sorted({v for part in parts for v in part.variants})
        },
        sums=sums,
        multi_variant_units=sum(part.several for part in parts),
        latest_ms=max(part.latest_ms for part in parts),
        offsets=offsets,
        hours=_hours(parts),
        segments=segments,
        sketches=sketches,
    )


def _variant(variant: str, parts: Iterable[Latest]) -> VariantTotals:
    rows = [part.variants[variant] for part in parts if variant in part.variants]
    return VariantTotals(
        sum(each.units for each in rows),
        sum(each.exposures for each in rows),
        sum(each.conversions for each in rows),
        max(each.last_exposed_ms for each in rows),
        sum(each.late_units for each in rows),
    )


def _hours(parts: Iterable[Latest]) -> dict[int, dict[str, VariantTotals]]:
    """Return the latest hours in which anything happened, with all that is known of them."""
    rows = [each for part in parts for each in part.hours.values()]
    busy = {each.hour_ms for each in rows if each.units or each.exposures or each.conversions}
    hours: dict[int, dict[str, VariantTotals]] = {each: {} for each in sorted(busy)[-MAX_HOURS:]}
    for each in rows:
        if each.hour_ms in hours:
            known = hours[each.hour_ms].get(each.variant, VariantTotals())
            hours[each.hour_ms][each.variant] = VariantTotals(
                known.units + each.units,
                known.exposures + each.exposures,
                known.conversions + each.conversions,
            )
    return hours


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """The service's schema, new, with the definition of experiment x."""
    async with await connect(database_url, schema=SCHEMA, deadline_ms=20_000, clock=SystemClock()) as opened:
        await opened.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await migrate(opened, SCHEMA, MIGRATIONS)
        await PostgresJudgements(opened, ManualClock(T0)).keep(definition())
        yield opened


async def judged(pool: Pool) -> ExperimentTotals:
    """Return what comes before the judge, who then says nothing."""
    seen: list[ExperimentTotals] = []

    def decide(case: Case) -> Judgement:
        seen.append(case.totals)
        return Judgement(T0, result=None, verdict=None, alerts=(), memory=case.memory)

    await PostgresJudgements(pool, ManualClock(T0)).settle("x", decide)
    (totals,) = seen
    return totals


@pytest.mark.parametrize("seed", range(6))
async def test_what_comes_before_the_judge_is_the_merge_of_the_partitions(pool: Pool, seed: int) -> None:
    """After every round of writes, in which partitions publish some of their rows anew, and those of another
    experiment beside them: every field equals the merge in Python, to the last digit."""
    chance = random.Random(seed)
    store: PostgresPartitionStore[PartitionRows] = PostgresPartitionStore(pool, write_rows)
    leases = [await store.acquire(number, "test") for number in range(PARTITIONS)]
    parts = [Latest() for _ in leases]
    offsets: dict[str, int] = {}
    for turn in range(ROUNDS):
        for number in {turn % PARTITIONS, *chance.choices(range(PARTITIONS), k=2)}:
            rows = tuple(Draw(chance).row(key) for key in sorted(KEYS))
            told = {"exposures": 10 * turn + number, "conversions": 7 * turn}
            await store.publish(leases[number], told, rows)
            parts[number].write(rows[-1])
            offsets |= {f"{topic}-{number}": offset for topic, offset in told.items()}
        assert await judged(pool) == merge(parts, offsets)
