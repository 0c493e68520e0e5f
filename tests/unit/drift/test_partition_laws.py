"""Laws of a partition's state: the same facts give the same rows, however they come."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from services.drift.domain.partition import DriftPartition, IngestLimits
from services.drift.domain.rows import DriftRows, VersionTotal, WindowRow

Make = Callable[..., Record]

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Within the lateness of a minute: there the laws hold to the last digit.
fact = st.tuples(
    st.sampled_from(["predictions", "feedback"]),
    st.integers(0, 6),
    st.integers(0, 20_000),
    st.sampled_from(["a", "b"]),
    st.sampled_from([0.0, 0.1, -3.5, 1e6, 2.0**-50]),
)
Facts = list[tuple[str, int, int, str, float]]


def _records(facts: Facts, prediction: Make, feedback: Make) -> list[Record]:
    """Facts as records. Prediction `n` always says the same; a label's id depends on all it says."""
    records = []
    for topic, number, at_ms, label, value in facts:
        if topic == "predictions":
            features = {"x": float(number), "y": number / 7}
            records.append(prediction(number, number * 500, features=features, output="ab"[number % 2]))
        else:
            event_id = f"{number}-{at_ms}-{label}-{value}"
            records.append(feedback(number, at_ms, event_id=event_id, label=label))
    return records


def _fold(state: DriftPartition, records: Sequence[Record]) -> None:
    for record in records:
        assert not state.fold(record.topic, Batch.of([record]))


def _gist(rows: DriftRows) -> tuple[tuple[WindowRow, ...], tuple[VersionTotal, ...], int]:
    """Windows that hold anything, totals and event time. A label that was taken back leaves an empty one."""
    held = [each for each in rows.windows if each.tally.predictions or each.tally.labelled]
    return tuple(held), rows.totals, rows.progress.watermark_ms


@SETTINGS
@given(data=st.data(), facts=st.lists(fact, max_size=25))
def test_order_and_repetition_do_not_matter(
    data: st.DataObject, facts: Facts, prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """Any interleaving and repetition of the same facts gives the same windows."""
    records = _records(facts, prediction, feedback)
    again = data.draw(st.permutations(records + records[: len(records) // 2]))
    one, other = DriftPartition(limits), DriftPartition(limits)
    _fold(one, records)
    _fold(other, again)
    assert _gist(one.rows()) == _gist(other.rows())


@SETTINGS
@given(facts=st.lists(fact, max_size=25), size=st.integers(1, 9))
def test_batches_do_not_matter(
    facts: Facts, size: int, prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """However a topic's records are cut into batches, the rows are the same, counts of losses included."""
    records = _records(facts, prediction, feedback)
    predictions = [each for each in records if each.topic == "predictions"]
    labels = [each for each in records if each.topic == "feedback"]
    one, other = DriftPartition(limits), DriftPartition(limits)
    _fold(one, predictions + labels)
    for topic, part in (("predictions", predictions), ("feedback", labels)):
        for start in range(0, len(part), size):
            other.fold(topic, Batch.of(part[start : start + size]))
    assert one.rows() == other.rows()


@SETTINGS
@given(facts=st.lists(fact, max_size=25), cut=st.integers(0, 25))
def test_dump_goes_on_as_if_nothing_had_been(
    facts: Facts, cut: int, prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """A state restored from a dump in the middle ends like one that was never interrupted."""
    records = _records(facts, prediction, feedback)
    limits = replace(limits, flush_examples=10_000, flush_interval_ms=10**9)
    whole, first = DriftPartition(limits), DriftPartition(limits)
    _fold(whole, records)
    _fold(first, records[:cut])
    second = DriftPartition(limits, first.dump())
    assert list(second.dump()) == list(first.dump())
    _fold(second, records[cut:])
    assert second.rows() == whole.rows()
    assert list(second.dump()) == list(whole.dump())
