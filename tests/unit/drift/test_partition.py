"""One partition's state: what is counted, what is left out, what comes out."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from libs.common.errors import Misconfigured
from services.drift.domain.answers import Horizons
from services.drift.domain.partition import DriftPartition, IngestLimits

Make = Callable[..., Record]


def test_label_joins_its_prediction(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """A prediction and its label give one labelled answer and one example with the features."""
    state = DriftPartition(limits)
    state.fold(
        "predictions", Batch.of([prediction(1, features={"x": 2, "on": True, "city": "Rome", "gap": None})])
    )
    state.fold("feedback", Batch.of([feedback(1, 100, label="b")]))
    rows = state.rows()
    (window,) = rows.windows
    assert (window.tally.predictions, window.tally.labelled, window.tally.correct) == (1, 1, 0)
    assert window.body is not None
    assert window.body.non_numeric == {"city": 1}
    (example,) = rows.examples
    assert example.features == {"x": 2.0, "on": 1.0}
    assert (example.prediction_id, example.output, example.label) == ("p1", "a", "b")


def test_label_may_come_first(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """A label that is read before its prediction waits for it."""
    state = DriftPartition(limits)
    state.fold("feedback", Batch.of([feedback(1, 100)]))
    state.fold("predictions", Batch.of([prediction(1)]))
    assert [each.prediction_id for each in state.rows().examples] == ["p1"]


def test_label_counts_when_the_truth_was_known(
    prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """A late label counts in the window of the label, the prediction in its own."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1, 100)]))
    state.fold("feedback", Batch.of([feedback(1, 5_200)]))
    first, second = state.rows().windows
    assert (first.tally.predictions, first.tally.labelled) == (1, 0)
    assert (second.tally.predictions, second.tally.labelled) == (0, 1)
    assert second.key.start_ms - first.key.start_ms == 5_000


def test_repetitions_count_once(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """The same event ids again change nothing but the count of what was left out."""
    state = DriftPartition(limits)
    for _ in range(3):
        state.fold("predictions", Batch.of([prediction(1)]))
        state.fold("feedback", Batch.of([feedback(1, 100)]))
    rows = state.rows()
    assert (rows.totals[0].predictions, rows.totals[0].labelled) == (1, 1)
    assert rows.progress.left_out == {"duplicate": 4}
    assert len(rows.examples) == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_earliest_label_holds(
    order: tuple[int, int], prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """Of two labels for one prediction the earlier counts, whichever is read first."""
    labels = [
        feedback(1, 100, event_id="right", label="a"),
        feedback(1, 2_000, event_id="wrong", label="b"),
    ]
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1)]))
    state.fold("feedback", Batch.of([labels[each] for each in order]))
    tallies = [each.tally for each in state.rows().windows]
    assert sum(each.labelled for each in tallies) == sum(each.correct for each in tallies) == 1


@pytest.mark.parametrize(("output", "label"), [(3, "3"), (3.0, 3), ("3", 3.0)])
def test_same_class_in_other_types(
    output: object, label: object, prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """3, 3.0 and "3" are one class."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1, output=output)]))
    state.fold("feedback", Batch.of([feedback(1, 100, label=label)]))
    rows = state.rows()
    assert rows.windows[0].tally.correct == 1
    assert (rows.examples[0].output, rows.examples[0].label) == ("3", "3")


def test_too_late_is_left_out(prediction: Make, limits: IngestLimits) -> None:
    """A fact further behind the newest than the lateness is counted as late and nowhere else."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1, 100_000), prediction(2, 0)]))
    rows = state.rows()
    assert rows.totals[0].predictions == 1
    assert rows.progress.left_out == {"late": 1}


def test_future_does_not_make_others_late(prediction: Make, limits: IngestLimits) -> None:
    """An event hours ahead of the log's own time moves event time no further than the log."""
    ahead = prediction(1, 3_600_000)._replace(timestamp_ms=prediction(1).timestamp_ms - 10**9)
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([ahead, prediction(2, 0)]))
    assert state.rows().progress.left_out == {}


def test_more_than_a_day_ahead_is_poison(prediction: Make, limits: IngestLimits) -> None:
    """A fact more than a day after its record's time is rejected by the log's clock, on every replay."""
    record = prediction(1, 86_400_000 * 2)._replace(timestamp_ms=prediction(1).timestamp_ms - 10**9)
    (rejected,) = DriftPartition(limits).fold("predictions", Batch.of([record]))
    assert "future" in rejected.reason


def test_poison_does_not_touch_its_neighbours(prediction: Make, limits: IngestLimits) -> None:
    """A record that is no prediction is returned with the field; those beside it count."""
    state = DriftPartition(limits)
    bad = prediction(2, features={"x": [1]})
    rejected = state.fold("predictions", Batch.of([prediction(1), bad, prediction(3)]))
    assert [each.record for each in rejected] == [bad]
    assert "features" in rejected[0].reason
    assert state.rows().totals[0].predictions == 2


def test_ratings_are_no_labels(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """An opinion without a label is left out, and said so."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1)]))
    state.fold("feedback", Batch.of([feedback(1, label=None, rating=0.5)]))
    rows = state.rows()
    assert rows.totals[0].labelled == 0
    assert rows.progress.left_out == {"rating": 1}


def test_label_of_another_model_waits_in_vain(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """Feedback that names another model than the prediction does not label it."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1)]))
    state.fold("feedback", Batch.of([feedback(1, model="other"), feedback(9, 200_000)]))
    state.fold("predictions", Batch.of([prediction(9, 200_000)]))
    rows = state.rows()
    assert rows.totals[0].labelled == 1
    assert rows.progress.left_out["label_without_prediction"] == 1


def test_label_wait_ends(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """A prediction waits for its label as long as stated, and no longer."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1), prediction(2, 119_000)]))
    state.fold("feedback", Batch.of([feedback(1, 119_000)]))
    state.fold("predictions", Batch.of([prediction(3, 121_000), prediction(4, 250_000)]))
    state.fold("feedback", Batch.of([feedback(3, 250_000)]))
    assert state.rows().totals[0].labelled == 1


def test_limits_are_counted(prediction: Make, limits: IngestLimits) -> None:
    """Versions and answers over the limit are left out, counted, and hurt nobody else."""
    state = DriftPartition(replace(limits, versions_per_model=9, horizons=Horizons(60_000, 120_000, 2)))
    state.fold(
        "predictions", Batch.of([prediction(each, each, model_version=str(each % 4)) for each in range(8)])
    )
    rows = state.rows()
    assert len(rows.totals) == 3
    assert rows.progress.left_out == {"version_over_limit": 2, "forgotten_over_limit": 4}


def test_feature_names_are_limited(prediction: Make, limits: IngestLimits) -> None:
    """A window tells 512 features apart; values of further names are counted as left out."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1, features={f"a{each}": 1.0 for each in range(512)})]))
    state.fold("predictions", Batch.of([prediction(2, features={f"b{each}": 1.0 for each in range(10)})]))
    rows = state.rows()
    assert rows.windows[0].body is not None
    assert len(rows.windows[0].body.features) == 512
    assert rows.progress.left_out == {"feature_value": 10}


def test_outputs_are_limited(prediction: Make, limits: IngestLimits) -> None:
    """More than 256 different answers in a window are no longer told apart."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(each, output=each / 2) for each in range(300)]))
    (window,) = state.rows().windows
    assert window.body is not None
    assert window.body.outputs is None
    assert window.tally.real_valued == 150


def test_only_changes_are_handed_out(prediction: Make, limits: IngestLimits) -> None:
    """Rows hold what changed since the last call, absolute."""
    state = DriftPartition(limits)
    state.fold("predictions", Batch.of([prediction(1), prediction(2, 5_000)]))
    assert len(state.rows().windows) == 2
    assert state.rows().windows == ()
    state.fold("predictions", Batch.of([prediction(3, 5_001)]))
    (window,) = state.rows().windows
    assert window.tally.predictions == 2


def test_examples_wait_for_the_interval(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """Examples are handed out together, after the interval of event time, or when enough of them wait."""
    state = DriftPartition(replace(limits, flush_interval_ms=10_000, flush_examples=3))
    state.fold("predictions", Batch.of([prediction(0)]))
    state.rows()
    state.fold("predictions", Batch.of([prediction(each, each) for each in range(1, 9)]))
    state.fold("feedback", Batch.of([feedback(1, 10), feedback(2, 10)]))
    assert state.rows().examples == ()
    state.fold("feedback", Batch.of([feedback(3, 10)]))
    assert len(state.rows().examples) == 3
    state.fold("feedback", Batch.of([feedback(4, 10_011)]))
    assert len(state.rows().examples) == 1


def test_dump_of_other_windows_is_refused(prediction: Make, limits: IngestLimits) -> None:
    """A changed window length says which setting to put back instead of mixing windows."""
    dump = DriftPartition(limits).dump()
    with pytest.raises(Misconfigured, match="1000 ms") as caught:
        DriftPartition(replace(limits, window_ms=2_000), dump)
    assert "DRIFT_WINDOW_MS=1000" in caught.value.next_step


@pytest.mark.parametrize("dump", [b"", b"nonsense", b"\x81\xa6format\x05"])
def test_unreadable_dump_is_refused(dump: bytes, limits: IngestLimits) -> None:
    """A dump that is none of ours is refused with what to do."""
    with pytest.raises(Misconfigured, match="snapshot"):
        DriftPartition(limits, [dump])
