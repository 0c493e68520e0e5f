"""The partition at its edges: first exposures, crossed units, windows, limits, poison."""

import pytest

from libs.common.bus.batches import Batch
from libs.common.errors import Misconfigured
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.limits import HOUR_MS, IngestLimits
from services.metrics.domain.partition import TOO_FAR_AHEAD, MetricsPartition, MetricsPartitions
from tests.unit.metrics.events import (
    T0,
    WINDOW_MS,
    as_reference,
    conversion,
    experiment,
    exposure,
    fold,
    known,
    record,
)
from tests.world.metrics_reference import Counts, Expected


def partition() -> MetricsPartition:
    """Return a partition that knows experiment x."""
    return MetricsPartitions(known("x"))(0, None)


def test_a_window_includes_both_ends_and_nothing_before_the_exposure() -> None:
    """Conversions at the exposure and at the window's end count; one millisecond outside does not."""
    state = partition()
    times = [99, 100, 100 + WINDOW_MS, 101 + WINDOW_MS]
    for number, at_ms in enumerate(times):
        unit = f"u{number}"
        fold(state, [exposure(unit, "a", 100), conversion(unit, at_ms)])
    found = as_reference(state.rows()).metrics["a", "bought"]
    assert found == Expected(4, 2, 2_000_000, 2 * 10**12)


def test_an_earlier_exposure_that_comes_late_moves_the_window() -> None:
    """A conversion between the two exposures counts once the earlier exposure is known."""
    state = partition()
    fold(state, [exposure("u", "a", 500), conversion("u", 300, 2.5)])
    assert as_reference(state.rows()).metrics["a", "revenue"].total == 0
    fold(state, [exposure("u", "a", 200)])
    assert as_reference(state.rows()).metrics["a", "revenue"].total == 2_500_000


def test_a_unit_in_two_variants_is_in_neither() -> None:
    """It leaves the sums, is counted apart, and further conversions of it change no sum."""
    state = partition()
    fold(state, [exposure("u", "a", 0), conversion("u", 10), exposure("u", "b", 20), conversion("u", 30)])
    found = as_reference(state.rows())
    assert found.multi_variant_units == 1
    assert found.counts == {"a": Counts(0, 1, 0), "b": Counts(0, 1, 0)}
    assert set(found.metrics.values()) == {Expected(0, 0, 0, 0)}


def test_squares_beyond_64_bits_stay_exact() -> None:
    """The largest value that a schema lets through is squared without loss."""
    state = partition()
    fold(state, [exposure("u", "a", 0), conversion("u", 1, 1e12)])
    assert as_reference(state.rows()).metrics["a", "revenue"].total_squares == 10**36


def test_poison_is_returned_with_its_reason_and_the_rest_is_taken() -> None:
    """Of three records the broken one comes back; the others are in."""
    state = partition()
    good = [exposure("u1", "a", 0).to_json(), exposure("u2", "a", 0).to_json()]
    records = [record("exposures", v, n) for n, v in enumerate([good[0], b'{"type": "exposure"', good[1]])]
    rejected = state.fold("exposures", Batch.of(records))
    assert [each.record.offset for each in rejected] == [1]
    assert rejected[0].reason
    assert as_reference(state.rows()).counts["a"].units == 2


def test_an_event_far_ahead_of_its_record_is_poison_however_it_is_batched() -> None:
    """More than a day ahead of its own record's time, even next to a record from later."""
    state = partition()
    ahead = exposure("u", "a", 25 * HOUR_MS).to_json()
    later = record("exposures", exposure("v", "a", 0).to_json(), 1, T0 + 30 * HOUR_MS)
    rejected = state.fold("exposures", Batch.of([record("exposures", ahead, 0, T0), later]))
    assert [each.reason for each in rejected] == [TOO_FAR_AHEAD]


def test_only_what_lies_too_far_is_sorted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between poison of another kind each event that is too far ahead is named by its own record, those too
    far behind are counted, the others are taken; and of these no record becomes an object."""
    makes = MetricsPartitions(known("x"))
    state = makes(0, None)
    good, ahead = exposure("u", "a", 0).to_json(), exposure("v", "a", 25 * HOUR_MS).to_json()
    behind = exposure("w", "a", -2 * 366 * 24 * HOUR_MS).to_json()
    values = [b"{", good, ahead, b"", behind, ahead, good, exposure("z", "a", 29 * HOUR_MS).to_json()]
    batch = Batch.of(
        [
            record("exposures", value, offset, T0 + 30 * HOUR_MS * (offset == len(values) - 1))
            for offset, value in enumerate(values)
        ]
    )
    made: list[int] = []
    get = Batch.__getitem__
    monkeypatch.setattr(Batch, "__getitem__", lambda self, index: made.append(index) or get(self, index))
    rejected = state.fold("exposures", batch)
    assert sorted(each.record.offset for each in rejected) == sorted(made) == [0, 2, 3, 5]
    assert [each.record.offset for each in rejected if each.reason == TOO_FAR_AHEAD] == [2, 5]
    assert makes.outcomes.too_old == 1
    assert as_reference(state.rows()).counts["a"] == Counts(2, 2, 0)


def test_limits_count_and_ignore() -> None:
    """Units, experiments and variants beyond their limits change nothing but a counter."""
    makes = MetricsPartitions(known("x"), IngestLimits(units=1, experiments=1, variants=1))
    state = makes(0, None)
    fold(state, [exposure("u", "a", 0)])
    before = as_reference(state.rows())
    fold(state, [exposure("v", "a", 1), conversion("w", 1)])
    fold(state, [exposure("u", "z", 2)])
    fold(state, [exposure("u", "a", 3, experiment_id="unknown")])
    assert makes.outcomes.over_limits() == {"over_units": 2, "over_variants": 1, "over_experiments": 1}
    assert state.rows() == ()
    assert before.counts == {"a": Counts(1, 1, 0)}


def test_repeated_exposures_beyond_the_limit_are_not_counted() -> None:
    """The count of exposures of one unit stops at the limit; the unit stays."""
    makes = MetricsPartitions(known("x"), IngestLimits(exposures_per_unit=3))
    state = makes(0, None)
    fold(state, [exposure("u", "a", at_ms) for at_ms in range(10)])
    assert as_reference(state.rows()).counts == {"a": Counts(1, 3, 0)}
    assert makes.outcomes.over_exposures == 7


def test_conversions_of_units_that_never_come_are_forgotten_after_the_lateness() -> None:
    """Without an exposure within the lateness a unit's memory is freed; exposed units stay."""
    makes = MetricsPartitions(known("x"), IngestLimits(lateness_ms=HOUR_MS, look_back_ms=0))
    state = makes(0, None)
    fold(state, [exposure("u", "a", 0), conversion("u", 1), conversion("never", 1)])
    assert state.units == 2
    fold(state, [exposure("u", "a", 2 * HOUR_MS)])
    assert (state.units, makes.outcomes.swept_units) == (1, 1)


def test_an_older_revision_of_a_definition_changes_nothing() -> None:
    """Revision 1 after revision 2 is ignored."""
    definitions = Definitions()
    definitions.keep(experiment(revision=2))
    definitions.keep(experiment(revision=1, metrics=()))
    assert len(definitions.plan("x").metrics) == 3


@pytest.mark.parametrize("dump", [b"", b"\xff", b"\x94\x63\x00\x90\x90"])
def test_a_dump_of_another_version_is_refused_with_the_next_step(dump: bytes) -> None:
    """What cannot be read is no state to start from."""
    with pytest.raises(Misconfigured) as caught:
        MetricsPartitions(Definitions())(0, [dump])
    assert caught.value.next_step
