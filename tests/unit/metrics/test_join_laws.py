"""Laws of the join: order, repetition and crashes change nothing, and the reference agrees to the digit."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.facts import Conversion, Exposure
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.hashing import hash_of
from services.metrics.domain.limits import IngestLimits
from services.metrics.domain.partition import MetricsPartitions
from tests.unit.metrics.events import Event, as_reference, conversion, experiment, exposure, fold, known
from tests.world.metrics_reference import Reference, reference

TIMES = st.integers(0, 6).map(lambda step: step * 500)
UNITS = st.sampled_from(["u1", "u2", "u3", "ü"])
KEYS = st.sampled_from(["x", "x", "y"])
EXPOSURES = st.builds(exposure, UNITS, st.sampled_from("aab"), TIMES, experiment_id=KEYS)
CONVERSIONS = st.builds(
    conversion,
    UNITS,
    TIMES,
    st.sampled_from([1.0, 0.1, -3.5, 0.0, 1e12, 0.0000005, 1 / 3]),
    st.sampled_from(["purchase", "purchase", "visit", "other"]),
)
EVENTS = st.lists(EXPOSURES | CONVERSIONS, max_size=25)


def truth(events: Sequence[Event], key: str = "x") -> Reference:
    """Return what the reference finds."""
    return reference(
        experiment(key),
        [e for e in events if isinstance(e, Exposure)],
        [e for e in events if isinstance(e, Conversion)],
    )


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_any_order_and_repetition_equals_the_reference(events: list[Event], chance: random.Random) -> None:
    """Shuffled and repeated events give the reference's numbers, to the last digit."""
    shuffled = [*events, *chance.choices(events, k=len(events) // 2)] if events else []
    chance.shuffle(shuffled)
    state = MetricsPartitions(known("x", "y"))(0, None)
    assert fold(state, shuffled, batch=3) == []
    rows = state.rows()
    assert as_reference(rows, "x") == truth(events, "x")
    assert as_reference(rows, "y") == truth(events, "y")


@given(EVENTS, st.integers(0, 25), st.integers(0, 25))
@settings(max_examples=200, deadline=None)
def test_dump_and_load_is_no_crash(events: list[Event], cut: int, replayed: int) -> None:
    """A dump at any event, loaded, followed by a replay of everything since anywhere before: same rows."""
    definitions = known("x", "y")
    state = MetricsPartitions(definitions)(0, None)
    fold(state, events[:cut])
    state.rows()
    again = MetricsPartitions(definitions)(0, state.dump())
    fold(again, events[min(cut, replayed) :])
    assert as_reference(again.rows()) == truth(events)


@given(EVENTS, st.integers(0, 25))
@settings(max_examples=200, deadline=None)
def test_when_a_definition_comes_does_not_matter(events: list[Event], when: int) -> None:
    """A definition that arrives between any two events gives the rows it would have given before all."""
    definitions = Definitions()
    state = MetricsPartitions(definitions)(0, None)
    fold(state, events[:when])
    state.rows()
    definitions.keep(experiment("x", metrics=()))
    fold(state, events[when:])
    definitions.keep(experiment("x", revision=2))
    assert as_reference(state.rows()) == truth(events)


@given(EVENTS)
@settings(max_examples=100, deadline=None)
def test_rows_are_absolute_and_only_of_what_changed(events: list[Event]) -> None:
    """The last row of an experiment, whenever it was given, is its final value; the same again gives none."""
    state = MetricsPartitions(known("x", "y"))(0, None)
    latest = {}
    for event in events:
        fold(state, [event])
        latest.update({row.experiment_id: row for row in state.rows()})
    assert as_reference(list(latest.values())) == truth(events)
    fold(state, events)
    repeated = state.rows()
    assert repeated == ()


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_limit_of_conversions_keeps_the_earliest_in_any_order(
    events: list[Event], chance: random.Random
) -> None:
    """With two conversions a unit, the two earliest count, whatever the order."""
    limits = IngestLimits(conversions_per_unit=2)
    shuffled = list(events)
    chance.shuffle(shuffled)
    state = MetricsPartitions(known("x"), limits)(0, None)
    fold(state, shuffled)
    kept: dict[str, list[Conversion]] = {}
    distinct = {(e.unit_id, e.event_id): e for e in events if isinstance(e, Conversion)}
    for each in sorted(distinct.values(), key=lambda c: (c.occurred_at_ms, hash_of(c.event_id))):
        kept.setdefault(each.unit_id, []).append(each)
    wanted = [c for found in kept.values() for c in found[:2]]
    expected = truth([*(e for e in events if isinstance(e, Exposure)), *wanted])
    found = as_reference(state.rows())
    assert (found.counts, found.metrics) == (expected.counts, expected.metrics)
