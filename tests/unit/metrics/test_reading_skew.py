"""The two topics are read side by side, not in step: what is forgotten meanwhile changes no number."""

import random
from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.batches import Batch
from schemas.experiments import Experiment, ExperimentState, Metric
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import HOUR_MS, IngestLimits
from services.metrics.domain.partition import MetricsPartition, MetricsPartitions
from services.metrics.domain.rows import ExperimentRow
from tests.unit.metrics.events import (
    T0,
    WINDOW_MS,
    Event,
    as_reference,
    conversion,
    experiment,
    exposure,
    known,
    record,
    topic_of,
)
from tests.world.metrics_reference import Reference, reference

LATENESS_MS = 2_000
LIMITS = IngestLimits(lateness_ms=LATENESS_MS, look_back_ms=0)
LONGEST_MS = 2 * WINDOW_MS
STEPS = st.integers(0, 60).map(lambda step: step * 500)
UNITS = st.sampled_from(["u1", "u2", "u3", "u4"])
EVENTS = st.lists(
    st.builds(exposure, UNITS, st.sampled_from("aab"), STEPS)
    | st.builds(conversion, UNITS, STEPS)
    | st.builds(exposure, UNITS, st.just("a"), STEPS, experiment_id=st.just("other")),
    max_size=40,
)


class Log:
    """Both topics as they are written, and how far a partition has read them."""

    def __init__(self, state: MetricsPartition, chance: random.Random) -> None:
        self.topics: dict[str, list[Event]] = {"exposures": [], "conversions": []}
        self.read = dict.fromkeys(self.topics, 0)
        self.published: dict[str, ExperimentRow] = {}
        self._state, self._chance = state, chance
        self._mark: dict[str, int] = {}

    def write(self, events: Sequence[Event]) -> None:
        """Append events, in this order."""
        for each in events:
            self.topics[topic_of(each)].append(each)

    def take(self, topic: str) -> None:
        """Read some of what a topic holds; then, perhaps, publish or mark."""
        left = self.topics[topic][self.read[topic] :]
        some = left[: self._chance.randint(1, 12)]
        if some:
            self._state.fold(topic, stamped(some))
            self.read[topic] += len(some)
        if self._chance.random() < 0.5:
            self.publish()
        if self._chance.random() < 0.3 and all(self.read[each] >= end for each, end in self._mark.items()):
            self._state.mark()
            self._mark = {each: len(found) for each, found in self.topics.items()}

    def publish(self) -> None:
        """Keep the latest row of each experiment, as the store does."""
        self.published |= {row.experiment_id: row for row in self._state.rows()}

    def finish(self) -> Reference:
        """Read all that is left, one topic at random after the other, and return what is published of x."""
        ahead = self._chance.choice(list(self.topics))
        while any(self.read[topic] < len(found) for topic, found in self.topics.items()):
            self.take(ahead if self._chance.random() < 0.8 else self._chance.choice(list(self.topics)))
            if self.read[ahead] == len(self.topics[ahead]):
                ahead = self._chance.choice(list(self.topics))
        self.publish()
        return as_reference(list(self.published.values()))


def stamped(events: Sequence[Event]) -> Batch:
    """Return events of one topic as they are read, each stamped with the time when it happened."""
    return Batch.of([record(topic_of(e), e.to_json(), timestamp_ms=e.occurred_at_ms) for e in events])


def written(events: Sequence[Event], chance: random.Random) -> list[Event]:
    """Return events in an order in which each comes at most the lateness late."""
    placed = [(each.occurred_at_ms + chance.randrange(LATENESS_MS), nth) for nth, each in enumerate(events)]
    return [events[nth] for _, nth in sorted(placed)]


def stopped(ended_ms: int) -> Experiment:
    """Return x as it is after its end."""
    again = experiment("x", revision=2, state=ExperimentState.STOPPED)
    return again.model_copy(update={"ended_at_ms": T0 + ended_ms})


def truth(definition: Experiment, events: Sequence[Event]) -> tuple[object, ...]:
    """Return the numbers of x; exposures after its end, the longest window and the lateness are none."""
    ended_ms = definition.ended_at_ms
    closes_ms = float("inf") if ended_ms is None else ended_ms + LONGEST_MS + LATENESS_MS
    exposures = [each for each in events if each.type == "exposure" and each.occurred_at_ms <= closes_ms]
    return _numbers(reference(definition, exposures, [each for each in events if each.type == "conversion"]))


def _numbers(found: Reference) -> tuple[object, ...]:
    """Return all but the latest time; a variant that only refused exposures named is none."""
    counts = {variant: each for variant, each in found.counts.items() if each.exposures}
    metrics = {key: each for key, each in found.metrics.items() if key[0] in counts}
    return counts, metrics, found.multi_variant_units


def _parts(events: list[Event], chance: random.Random) -> Iterator[list[Event]]:
    while events:
        count = chance.randint(1, len(events))
        yield events[:count]
        events = events[count:]


@given(EVENTS, st.integers(0, 20_000), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_how_far_a_topic_is_read_ahead_changes_no_number(
    events: list[Event], ended_ms: int, chance: random.Random
) -> None:
    """A log that is there from the beginning, as in a rebuild: whatever is read first, in slices of any size,
    published and marked whenever, an experiment that ended has the numbers of its whole life."""
    definitions = known("other")
    definitions.keep(stopped(ended_ms))
    log = Log(MetricsPartitions(definitions, LIMITS)(0, None), chance)
    later = [exposure("u", "a", at_ms, experiment_id="other") for at_ms in range(30_000, 40_000, 500)]
    log.write(written(events, chance) + later)
    assert _numbers(log.finish()) == truth(stopped(ended_ms), events)


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_marks_in_a_log_that_grows_change_no_number(events: list[Event], chance: random.Random) -> None:
    """A log that grows while it is read: what is forgotten at a mark is missed by nothing that follows."""
    log = Log(MetricsPartitions(known("x", "other"), LIMITS)(0, None), chance)
    for part in _parts(written(events, chance), chance):
        log.write(part)
        for _ in range(chance.randint(0, 4)):
            log.take(chance.choice(list(log.topics)))
    assert _numbers(log.finish()) == truth(experiment("x"), events)


def test_a_slice_of_many_days_finds_the_conversions_of_its_first_day() -> None:
    """Conversions are folded first, then one slice of exposures that spans five days: none is missed."""
    metric = Metric(name="m", conversion="purchase", window_ms=7 * 24 * HOUR_MS)
    definitions = Definitions()
    definitions.keep(experiment("x", metrics=(metric,)))
    state = MetricsPartitions(definitions)(0, None)
    state.fold("conversions", stamped([conversion("u0", HOUR_MS)]))
    state.fold("exposures", stamped([exposure(f"u{day}", "a", day * 24 * HOUR_MS) for day in range(6)]))
    ((row,),) = (state.rows(),)
    assert row.metrics[0].sums.converted_units == 1


def test_an_experiment_that_is_over_before_the_end_of_a_slice_has_its_units() -> None:
    """A rebuild knows that x has ended; a slice that begins in its life and ends long after counts for it."""
    definitions = known("other")
    definitions.keep(stopped(HOUR_MS))
    state = MetricsPartitions(definitions)(0, None)
    days = [exposure("u", "a", day * 24 * HOUR_MS, experiment_id="other") for day in range(1, 8)]
    state.fold("exposures", stamped([exposure("u", "a", 0), *days]))
    state.fold("conversions", stamped([conversion("u", WINDOW_MS)]))
    found = as_reference(state.rows())
    assert (found.counts["a"].units, found.counts["a"].conversions) == (1, 1)


def test_an_experiment_that_is_over_waits_for_its_conversions() -> None:
    """A rebuild reads exposures days ahead, and publishes: an experiment that ended is not forgotten before
    its conversions have been read."""
    definitions = known("other")
    definitions.keep(stopped(HOUR_MS))
    state = MetricsPartitions(definitions)(0, None)
    state.fold("exposures", stamped([exposure("u", "a", 0)]))
    for day in range(1, 12):
        state.rows()
        later = exposure("v", "a", day * 24 * HOUR_MS, experiment_id="other")
        state.fold("exposures", stamped([later]))
    state.fold("conversions", stamped([conversion("u", WINDOW_MS)]))
    assert as_reference(state.rows()).counts["a"].conversions == 1


def test_a_covariate_finds_what_was_before_its_definition() -> None:
    """An experiment with a covariate of two weeks is defined after weeks without any: purchases of units that
    were never exposed count for it."""
    metric = Metric(name="m", conversion="purchase", covariate_window_ms=14 * 24 * HOUR_MS)
    definitions = known("old")
    state = MetricsPartitions(definitions)(0, None)
    day_ms = 24 * HOUR_MS
    state.fold("conversions", stamped([conversion("u", 20 * day_ms)]))
    for day in range(15, 31):
        state.fold("exposures", stamped([exposure("v", "a", day * day_ms, experiment_id="old")]))
    definitions.keep(experiment("x", metrics=(metric,)))
    state.fold("exposures", stamped([exposure("u", "a", 31 * day_ms)]))
    (row,) = [each for each in state.rows() if each.experiment_id == "x"]
    assert row.metrics[0].sums.covariate_total == 1_000_000


def test_without_exposures_what_is_over_is_forgotten_at_a_mark() -> None:
    """The only experiment has ended, conversions go on: once the log has been read to a mark, the experiment
    goes, with what waits in vain for exposures; no earlier."""
    definitions = known()
    definitions.keep(stopped(1))
    makes = MetricsPartitions(definitions, IngestLimits(lateness_ms=HOUR_MS, look_back_ms=0))
    state = makes(0, None)
    state.fold("exposures", stamped([exposure("u", "a", 0)]))
    state.rows()
    state.fold("conversions", stamped([conversion("u", 1), *(conversion("never", n) for n in range(5))]))
    state.fold("conversions", stamped([conversion("later", 9 * HOUR_MS)]))
    state.rows()
    state.mark()
    assert (state.units, makes.outcomes.dropped_experiments) == (3, 0)
    state.mark()
    assert (state.units, makes.outcomes.dropped_experiments) == (1, 1)


def test_a_restart_goes_on_with_the_clocks() -> None:
    """Who starts from a snapshot sweeps when the one who wrote it would have."""
    makes = MetricsPartitions(known("x"), IngestLimits(lateness_ms=HOUR_MS, look_back_ms=0))
    state = makes(0, None)
    state.fold("exposures", stamped([exposure("u", "a", 0)]))
    state.fold("conversions", stamped([conversion("never", 0)]))
    for minutes in range(0, 100, 10):
        state.fold("exposures", stamped([exposure("u", "a", minutes * 60_000)]))
        state = makes(0, state.dump())
    assert state.units == 1


def test_nothing_is_published_of_an_experiment_that_nobody_defined() -> None:
    """Made-up names fill no table; what is counted meanwhile is published once the definition is there."""
    definitions = Definitions()
    state = MetricsPartitions(definitions)(0, None)
    state.fold("exposures", stamped([exposure("u", "a", 0)]))
    assert (state.changed(), state.rows()) == (False, ())
    definitions.keep(experiment("x", metrics=()))
    assert state.changed()
    assert as_reference(state.rows()).counts["a"].units == 1
