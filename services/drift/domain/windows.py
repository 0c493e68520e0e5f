"""Tumbling windows of event time: counts that any order of the same events brings to the same values."""

from collections.abc import Iterable, Mapping, Sequence

from libs.statistics.value_counts import ValueCounts
from schemas.names import MAX_FEATURES
from services.drift.domain.labels import is_real, label_text
from services.drift.domain.rows import FeatureBody, Tally, WindowBody, WindowKey, WindowRow

MAX_OUTPUTS = 256
"""Different answers that a window tells apart."""


def start_of(at_ms: int, window_ms: int) -> int:
    """Return the start of the window that holds `at_ms`."""
    return at_ms - at_ms % window_ms


class Window:
    """One window of one model version in one partition."""

    __slots__ = (
        "_columns", "_features", "_non_numeric", "_outputs", "_shed", "changed", "correct", "key", "labelled",
        "predictions", "real_valued",
    )  # fmt: skip

    def __init__(self, key: WindowKey) -> None:
        self.key = key
        self.predictions = self.real_valued = self.labelled = self.correct = 0
        self.changed = True
        """Since the last row."""
        self._features: dict[str, ValueCounts] = {}
        self._columns: dict[str, list[float]] = {}
        self._non_numeric: dict[str, int] = {}
        self._outputs: dict[str, int] | None = {}
        self._shed = False

    @classmethod
    def restore(cls, row: WindowRow) -> "Window":
        """Return the window that `row` shows."""
        window = cls(row.key)
        window.predictions, window.real_valued = row.tally.predictions, row.tally.real_valued
        window.labelled, window.correct = row.tally.labelled, row.tally.correct
        if row.body is None:
            window.shed()
            return window
        window._features = counts_of([row.body])
        window._columns = {name: [] for name in window._features}
        window._non_numeric = dict(row.body.non_numeric)
        window._outputs = None if row.body.outputs is None else dict(row.body.outputs)
        return window

    def predicted(self, features: Mapping[str, float | bool | str | None], output: float | str) -> int:
        """Count one prediction. Returns how many values were left out, past the limit on feature names."""
        self.changed = True
        self.predictions += 1
        self.real_valued += is_real(output)
        self._count_output(label_text(output))
        columns, left_out = self._columns, 0
        for name, value in features.items():
            if value is None:
                continue
            column = columns.get(name)
            if isinstance(value, str):
                left_out += not self._count_text(name)
            elif column is not None:
                column.append(float(value))
            elif len(columns) < MAX_FEATURES:
                columns[name] = [float(value)]
            else:
                left_out += 1
        return left_out

    def labelled_by(self, *, correct: bool, times: int = 1) -> None:
        """Count one answer whose truth is known; `times=-1` takes it back."""
        self.changed = True
        self.labelled += times
        self.correct += times * correct

    def shed(self) -> None:
        """Give up the histograms, which were told: only labels can still come."""
        self._shed = True
        self._features, self._columns, self._non_numeric, self._outputs = {}, {}, {}, None

    def row(self) -> WindowRow:
        """Return the window's absolute values."""
        self.settle()
        tally = Tally(self.key.start_ms, self.predictions, self.real_valued, self.labelled, self.correct)
        if self._shed:
            return WindowRow(self.key, tally, None)
        body = WindowBody(
            {name: _body(self._features[name]) for name in sorted(self._features)},
            dict(sorted(self._non_numeric.items())),
            None if self._outputs is None else dict(sorted(self._outputs.items())),
        )
        return WindowRow(self.key, tally, body)

    def settle(self) -> None:
        """Count the values that wait in columns: together they cost less than one by one."""
        for name, values in self._columns.items():
            counts = self._features.get(name)
            if counts is None:
                counts = self._features[name] = ValueCounts()
            counts.add_all(values)
            values.clear()

    def _count_text(self, name: str) -> bool:
        texts = self._non_numeric
        if name not in texts and len(texts) >= MAX_FEATURES:
            return False
        texts[name] = texts.get(name, 0) + 1
        return True

    def _count_output(self, output: str) -> None:
        if self._outputs is None:
            return
        self._outputs[output] = self._outputs.get(output, 0) + 1
        if len(self._outputs) > MAX_OUTPUTS:
            self._outputs = None


def _body(counts: ValueCounts) -> FeatureBody:
    highs = tuple(high + 0.0 for high in sorted(counts.counts))  # -0.0 and 0.0 are one number
    return FeatureBody(counts.bits, highs, tuple(counts.counts[high] for high in highs))


def counts_of(bodies: Iterable[WindowBody]) -> dict[str, ValueCounts]:
    """Return the histograms of several windows or partitions together, by feature."""
    merged: dict[str, ValueCounts] = {}
    for body in bodies:
        for name, feature in body.features.items():
            counts = ValueCounts.restore(feature.bits, dict(zip(feature.highs, feature.counts, strict=True)))
            if name in merged:
                merged[name].merge(counts)
            else:
                merged[name] = counts
    return merged


def added(tallies: Sequence[Tally]) -> Tally:
    """Return the sum of tallies; its start is the earliest."""
    return Tally(
        min((each.start_ms for each in tallies), default=0),
        sum(each.predictions for each in tallies),
        sum(each.real_valued for each in tallies),
        sum(each.labelled for each in tallies),
        sum(each.correct for each in tallies),
    )
