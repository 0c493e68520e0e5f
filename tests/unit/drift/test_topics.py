"""The two topics of a partition are read one ahead of the other: that changes nothing."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from services.drift.domain.answers import Horizons
from services.drift.domain.partition import DriftPartition, IngestLimits
from services.drift.domain.rows import DriftRows, Tally, VersionTotal, WindowKey

Make = Callable[..., Record]
Outcome = tuple[dict[WindowKey, Tally], dict[object, VersionTotal], dict[str, int], set[str]]

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MINUTE_MS = 60_000


def _outcome(published: list[DriftRows]) -> Outcome:
    """What all rows together leave behind, as the record keeps them."""
    windows = {row.key: row.tally for rows in published for row in rows.windows}
    held = {key: each for key, each in windows.items() if each.predictions or each.labelled}
    totals: dict[object, VersionTotal] = {each.key: each for rows in published for each in rows.totals}
    ids = {each.prediction_id for rows in published for each in rows.examples}
    left_out = published[-1].progress.left_out if published else {}
    return held, totals, left_out, ids


def _read(limits: IngestLimits, records: list[Record]) -> Outcome:
    """Fold one record at a time, and publish after each."""
    state, published = DriftPartition(limits), []
    for record in records:
        state.fold(record.topic, Batch.of([record]))
        published.append(state.rows())
    return _outcome(published)


def _merged(predictions: list[Record], labels: list[Record], turns: list[bool]) -> list[Record]:
    """Each topic in its own order, interleaved as `turns` say."""
    left, right, merged = list(predictions), list(labels), []
    for first in turns:
        source = left if first else right
        if source:
            merged.append(source.pop(0))
    return merged + left + right


@SETTINGS
@given(
    predicted=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=15),
    told=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=15),
    turns=st.lists(st.booleans(), max_size=30),
)
def test_any_interleaving_gives_the_same(
    predicted: list[tuple[int, int]], told: list[tuple[int, int]], turns: list[bool],
    prediction: Make, feedback: Make, limits: IngestLimits,
) -> None:  # fmt: skip
    """Half an hour of events, far more than the lateness: whichever topic is read ahead, windows, totals,
    what came too late and the examples are the same. Prediction n is n minutes old, or repeated."""
    predictions = [prediction(number, number * MINUTE_MS) for number, _ in predicted]
    predictions += [prediction(100 + index, at * MINUTE_MS) for index, (_, at) in enumerate(predicted)]
    # A label comes up to a minute after its prediction, at most once; or late in its own topic.
    once = dict(told)
    labels = [
        feedback(number, number * MINUTE_MS + at * 1_500, label="ab"[at % 2]) for number, at in once.items()
    ]
    live = _read(limits, _merged(predictions, labels, turns))
    for other in (predictions + labels, labels + predictions):
        windows, totals, left_out, examples = _read(limits, other)
        assert (windows, totals, examples) == (live[0], live[1], live[3])
        assert left_out.get("late") == live[2].get("late")
        assert left_out.get("duplicate") == live[2].get("duplicate")


def test_a_backlog_loses_nothing(prediction: Make, feedback: Make, limits: IngestLimits) -> None:
    """Forty minutes of log, either topic first: every prediction and label counts, none is late."""
    limits = replace(limits, horizons=Horizons(60_000, 120_000, 10_000))
    predictions = [prediction(each, each * 1_000) for each in range(2_400)]
    labels = [feedback(each, each * 1_000 + 500) for each in range(2_400)]
    for first, second in ((predictions, labels), (labels, predictions)):
        state = DriftPartition(limits)
        published = []
        for part in (first, second):
            for start in range(0, 2_400, 200):
                state.fold(part[0].topic, Batch.of(part[start : start + 200]))
                published.append(state.rows())
                state = DriftPartition(limits, state.dump())
        windows, totals, left_out, examples = _outcome(published)
        (total,) = totals.values()
        assert (total.predictions, total.labelled, len(examples)) == (2_400, 2_400, 2_400)
        assert sum(each.labelled for each in windows.values()) == 2_400
        assert left_out == {}


def test_repetitions_are_known_when_memory_is_full(
    prediction: Make, feedback: Make, limits: IngestLimits
) -> None:
    """When unlabelled predictions fill the memory, the oldest go, counted; a labelled one's repetition is
    still recognised."""
    state = DriftPartition(replace(limits, horizons=Horizons(60_000, 120_000, 5)))
    state.fold("predictions", Batch.of([prediction(each, each) for each in range(5)]))
    state.fold("feedback", Batch.of([feedback(4, 10)]))
    state.fold("predictions", Batch.of([prediction(each, 20 + each) for each in range(10, 18)]))
    state.fold("predictions", Batch.of([prediction(4, 4), prediction(0, 0)]))
    state.fold("feedback", Batch.of([feedback(4, 10)]))
    rows = state.rows()
    assert (rows.totals[0].predictions, rows.totals[0].labelled) == (13, 1)
    assert rows.progress.left_out["duplicate"] == 3
    assert rows.progress.left_out["forgotten_over_limit"] == 7


def test_a_caller_uses_up_only_its_own_model(prediction: Make, limits: IngestLimits) -> None:
    """Made-up versions of one model leave room for another's."""
    state = DriftPartition(replace(limits, versions=10, versions_per_model=2))
    state.fold("predictions", Batch.of([prediction(each, model_version=str(each)) for each in range(6)]))
    state.fold("predictions", Batch.of([prediction(9, model="other")]))
    rows = state.rows()
    assert {each.key.model for each in rows.totals} == {"digits", "other"}
    assert rows.progress.left_out == {"version_over_model_limit": 4}
