"""Input that is good event by event and bad in numbers, next to good events: bounded, counted, and nobody
else is touched. What is bad by itself: `test_bad_input.py`."""

import random
from collections import Counter
from collections.abc import Sequence

from libs.common.bus.batches import Batch
from schemas.experiments import Breakdown
from schemas.facts import Exposure
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import HOUR_MS, IngestLimits
from services.metrics.domain.outcomes import Outcomes
from services.metrics.domain.partition import MetricsPartitions
from services.metrics.domain.rows import PartitionRows
from tests.unit.metrics.events import (
    Event,
    as_reference,
    conversion,
    experiment,
    exposure,
    known,
    record,
    topic_of,
)
from tests.unit.metrics.test_bad_input import GOOD, TOPICS, truth


def size_of(makes: MetricsPartitions, values: Sequence[Event]) -> tuple[int, PartitionRows]:
    """Fold events in batches; return how many bytes the state then takes, and its rows."""
    state = makes(0, None)
    for topic in TOPICS:
        records = [record(topic, event.to_json()) for event in values if topic_of(event) == topic]
        for start in range(0, len(records), 1_000):
            assert state.fold(topic, Batch.of(records[start : start + 1_000])) == []
    return sum(map(len, state.dump())), state.rows()


def from_countries(events: Sequence[Exposure], countries: Sequence[str]) -> list[Event]:
    """Return these exposures, of units that come from these countries."""
    return [
        event.model_copy(update={"attributes": {"country": country}})
        for event, country in zip(events, countries, strict=True)
    ]


def test_events_older_than_the_windows() -> None:
    """Before the exposure, after its window, or a year late: no dead letter, and no part of any sum."""
    makes = MetricsPartitions(known("x"))
    late = [conversion("u1", -5_000), conversion("u2", 9_000_000)]
    ancient: list[Event] = [exposure("u3", "b", -400 * 24 * HOUR_MS), conversion("u4", -400 * 24 * HOUR_MS)]
    _, rows = size_of(makes, [*GOOD, *late, *ancient])
    assert as_reference(rows) == truth([*GOOD, *late])
    assert as_reference(rows).metrics == truth(GOOD).metrics
    assert makes.outcomes == Outcomes(too_old=2)


def test_unknown_experiments() -> None:
    """Of five thousand that nobody defined the oldest make room, with what waited for a definition:
    memory stays, and the defined one is exact."""
    limit = 100
    makes = MetricsPartitions(known("x"), IngestLimits(experiments=limit, waiting_units=limit))
    unknown = from_countries(
        [exposure("u1", "a", n, experiment_id=f"unknown-{n:05}") for n in range(5_000)],
        [f"country-{n:05}" for n in range(5_000)],
    )
    few, _ = size_of(makes, [*GOOD, *unknown[: limit - 1]])
    many, rows = size_of(makes, [*unknown[:2_500], *GOOD, *unknown[2_500:]])
    assert many <= few
    assert len(rows) <= limit
    assert as_reference(rows) == truth(GOOD)
    assert makes.outcomes.over_experiments == 0
    assert makes.outcomes.evicted_experiments >= len(unknown) - limit


def test_an_attribute_with_a_million_values() -> None:
    """Only the values that the definition names count apart: twenty thousand others cost what one other
    costs, in memory and in rows, and every segment is exact."""
    named = ("de", "fr")
    breakdown = Breakdown(attribute="country", values=named)
    definitions = Definitions()
    definitions.keep(experiment().model_copy(update={"breakdowns": (breakdown,)}))
    units = [exposure(f"{n:05}", "ab"[n % 2], n) for n in range(20_000)]
    countries = [named[n % 2] if n % 10 < 2 else f"country-{n:05}" for n in range(20_000)]
    alike = [country if country in named else "country-00000" for country in countries]
    makes = MetricsPartitions(definitions)
    one, _ = size_of(makes, [*GOOD, *from_countries(units, alike)])
    many, rows = size_of(makes, [*GOOD, *from_countries(units, countries)])
    assert many == one
    assert len(rows[0].segments) <= (len(named) + 2) * len(rows[0].metrics)
    assert as_reference(rows) == truth([*GOOD, *units])
    found = Counter((row.kind.value, row.value) for row in rows[0].segments for _ in range(row.sums.units))
    assert found == {
        place: 3 * count  # three metrics
        for place, count in {
            ("value", "de"): 2_000,
            ("value", "fr"): 2_000,
            ("other", ""): 16_000,
            ("missing", ""): 20,
        }.items()
    }


def test_one_unit_making_half_of_all_events() -> None:
    """Its memory stops at the limits, its first exposures and earliest conversions count whatever their
    order, what lies beyond is counted as ignored, and all others are exact."""
    limits = IngestLimits(conversions_per_unit=500)
    makes = MetricsPartitions(known("x"), limits)
    met_often = [exposure("hot", "a", n) for n in range(1_000)]
    did_often = [conversion("hot", n, n / 3) for n in range(3_000)]
    others: list[Event] = [exposure(f"u{n}", "ab"[n % 2], n) for n in range(200)]
    others += [conversion(f"u{n % 200}", n, n / 7) for n in range(200, 4_000)]
    events = [*met_often, *did_often, *others]
    random.Random(5).shuffle(events)
    without, _ = size_of(makes, others)
    size, rows = size_of(makes, events)
    assert as_reference(rows) == truth([*met_often[:64], *did_often[:500], *others])
    assert makes.outcomes == Outcomes(over_exposures=1_000 - 64, over_conversions=3_000 - 500)
    assert size - without < 64 * 8 + 500 * 48
