"""The state of one partition: predictions and feedback folded into windows, exactly.

Any interleaving, repetition or reordering of the same facts within the lateness gives the same windows: a
window counts distinct predictions (by event id) and distinct answers with their earliest label. What lies
further behind the newest event of its own topic than the lateness is left out and counted: the topics are
read one ahead of the other, by any distance, and neither makes the other late.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from msgspec import Struct

from libs.common.bus.batches import Batch
from libs.common.errors import Misconfigured
from libs.common.partitions.ports import Rejected
from schemas.hot import Feedback, Prediction, decode_batch
from schemas.names import MAX_AHEAD_MS, MAX_TIME_MS
from services.drift.domain.answers import Answer, Answers, EventTimes, Horizons, Remembered, Truth
from services.drift.domain.labels import label_text
from services.drift.domain.rows import (
    DriftRows,
    Example,
    Progress,
    VersionKey,
    VersionTotal,
    WindowKey,
    WindowRow,
)
from services.drift.domain.windows import Window, start_of

DUMP_FORMAT: Final = 2
_ANEW: Final = "run the version that wrote it, or begin anew: python -m services.drift reset --yes"
MAX_WINDOWS: Final = 20_000
"""Windows that wait for labels because feedback lags or stands still; they hold two numbers each. Beyond,
the oldest are closed, and what would still have counted in them is left out."""


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """How ingest cuts time, how much it remembers, and when it hands examples out."""

    window_ms: int
    horizons: Horizons
    versions: int
    """Model versions that a partition follows; predictions of further ones are left out."""
    versions_per_model: int
    """Of one model: so a caller that makes up versions uses up its own model's places and nobody else's."""
    flush_interval_ms: int
    """Event time between two hand-outs of examples."""
    flush_examples: int
    """As soon as so many wait, they are handed out."""


class _Dump(Struct):
    format: int
    window_ms: int
    times: EventTimes
    closed_ms: int
    flushed_ms: int
    left_out: dict[str, int]
    totals: list[VersionTotal]
    windows: list[WindowRow]
    remembered: Remembered
    examples: list[Example]


class DriftPartition:
    """Keeps the promises of `libs.common.partitions.ports.PartitionState`."""

    def __init__(self, limits: IngestLimits, dump: Iterable[bytes] | None = None) -> None:
        """Start empty or from a dump. Raises Misconfigured for a dump of other windows or another format."""
        self._limits = limits
        self._answers = Answers(limits.horizons)
        self._windows: dict[WindowKey, Window] = {}
        self._touched: set[Window] = set()
        self._totals: dict[VersionKey, VersionTotal] = {}
        self._versions: Counter[str] = Counter()
        self._changed_totals: set[VersionKey] = set()
        self._left_out: Counter[str] = Counter()
        self._examples: list[Example] = []
        self._times = EventTimes()
        self._closed_ms = 0
        """Windows that start before take nothing more in."""
        self._flushed_ms = 0
        if dump is not None:
            self._restore(b"".join(dump))

    def fold(self, topic: str, batch: Batch) -> Sequence[Rejected]:
        """Take in predictions or feedback, in offset order. Returns those that are poison."""
        rejected = []
        # The log's own time, not the reader's, says what lies in the future: so a replay decides the same.
        facts = decode_batch(topic, batch.values, MAX_TIME_MS)
        for place, (logged_at_ms, fact) in enumerate(zip(batch.timestamps_ms, facts, strict=True)):
            if isinstance(fact, str):
                rejected.append(Rejected(batch[place], fact))
            elif fact.occurred_at_ms > logged_at_ms + MAX_AHEAD_MS:
                rejected.append(Rejected(batch[place], "occurred_at_ms: lies more than a day in the future"))
            elif isinstance(fact, Prediction):
                self._predicted(fact, logged_at_ms)
            elif isinstance(fact, Feedback):
                self._told(fact, logged_at_ms)
        for window in self._touched:
            window.settle()
        self._touched.clear()
        return rejected

    def changed(self) -> bool:
        """Return True when a total or a window changed since the last rows: facts alone do that."""
        return bool(self._changed_totals) or any(each.changed for each in self._windows.values())

    def rows(self) -> DriftRows:
        """Return the windows that changed since the last call, and the examples that are due."""
        changed = [window for _, window in sorted(self._windows.items()) if window.changed]
        windows = tuple(window.row() for window in changed)
        for window in changed:
            window.changed = False
        self._close_windows()
        totals = tuple(self._totals[key] for key in sorted(self._changed_totals))
        self._changed_totals.clear()
        left_out = dict(sorted((+self._left_out).items()))
        progress = Progress(self._times.predictions_ms, left_out, self._times.feedback_ms)
        return DriftRows(windows, totals, progress, self._due())

    def mark(self) -> None:
        """Do nothing: windows close, and predictions give up their labels, by the times of facts alone."""

    def dump(self) -> Iterator[bytes]:
        """Return everything as MessagePack, in one chunk."""
        dump = _Dump(
            DUMP_FORMAT, self._limits.window_ms, self._times, self._closed_ms, self._flushed_ms,
            dict(sorted((+self._left_out).items())), [self._totals[key] for key in sorted(self._totals)],
            [window.row() for _, window in sorted(self._windows.items())], self._answers.dump(),
            self._examples,
        )  # fmt: skip
        return iter((msgspec.msgpack.encode(dump),))

    def _predicted(self, fact: Prediction, logged_at_ms: int) -> None:
        # An event from the future moves event time no further than the log's own time, or one wrong clock
        # would make everybody else late.
        at_ms = max(self._times.predictions_ms, min(fact.occurred_at_ms, logged_at_ms))
        self._move(EventTimes(at_ms, self._times.feedback_ms))
        if self._is_late(fact, at_ms):
            return
        if self._answers.repeated(fact.event_id):
            self._left_out["duplicate"] += 1
            return
        key = VersionKey(fact.model, fact.model_version)
        if not self._follows(key):
            return
        window = self._window(key, fact.occurred_at_ms)
        if window is None:
            return
        self._count(key, predictions=1)
        self._touched.add(window)
        self._left_out["feature_value"] += window.predicted(fact.features, fact.output)
        answer = Answer(
            fact.event_id, fact.unit_id, fact.occurred_at_ms, *key, label_text(fact.output), fact.confidence
        )
        truth = self._answers.remember(answer, fact.features)
        if truth is not None:
            self._settle(answer, truth)

    def _told(self, fact: Feedback, logged_at_ms: int) -> None:
        at_ms = max(self._times.feedback_ms, min(fact.occurred_at_ms, logged_at_ms))
        self._move(EventTimes(self._times.predictions_ms, at_ms))
        if self._is_late(fact, at_ms):
            return
        if fact.label is None:
            self._left_out["rating"] += 1
            return
        truth = Truth(fact.occurred_at_ms, fact.event_id, fact.model, label_text(fact.label))
        answer = self._answers.answer_of(fact.prediction_id, truth)
        if answer is not None:
            self._settle(answer, truth)
        elif not self._answers.early(fact.prediction_id, truth):
            self._left_out["duplicate"] += 1

    def _settle(self, answer: Answer, truth: Truth) -> None:
        key, known = VersionKey(answer.model, answer.version), answer.truth
        if known is not None:
            self._left_out["duplicate"] += 1
            if not truth.before(known):
                return
        window = self._window(key, max(answer.at_ms, truth.at_ms))
        if window is None:
            return
        if known is None:
            self._count(key, labelled=1)
        else:
            before = self._window(key, answer.known_at_ms())
            if before is None:
                return
            before.labelled_by(correct=known.label == answer.output, times=-1)
        window.labelled_by(correct=truth.label == answer.output)
        example = self._answers.settle(answer, truth)
        if example is not None:
            self._examples.append(example)

    def _move(self, times: EventTimes) -> None:
        """Move event time on, and let go of what that ends."""
        self._times = times
        for reason, count in self._answers.forget(times).items():
            if count:
                self._left_out[reason] += count

    def _is_late(self, fact: Prediction | Feedback, watermark_ms: int) -> bool:
        late = fact.occurred_at_ms < watermark_ms - self._limits.horizons.late_ms
        self._left_out["late"] += late
        return late

    def _follows(self, key: VersionKey) -> bool:
        """Say whether the version has a place, or gets one."""
        if key in self._totals:
            return True
        if self._versions[key.model] >= self._limits.versions_per_model:
            self._left_out["version_over_model_limit"] += 1
            return False
        if len(self._totals) >= self._limits.versions:
            self._left_out["version_over_limit"] += 1
            return False
        return True

    def _count(self, key: VersionKey, *, predictions: int = 0, labelled: int = 0) -> None:
        total = self._totals.get(key)
        if total is None:
            self._versions[key.model] += 1
            total = VersionTotal(key, 0, 0)
        self._changed_totals.add(key)
        self._totals[key] = replace(
            total, predictions=total.predictions + predictions, labelled=total.labelled + labelled
        )

    def _window(self, key: VersionKey, at_ms: int) -> Window | None:
        """Return the window of this moment, None (and count it) when it has closed."""
        place = WindowKey(*key, start_of(at_ms, self._limits.window_ms))
        if place.start_ms < self._closed_ms:
            self._left_out["window_closed"] += 1
            return None
        window = self._windows.get(place)
        if window is None:
            window = self._windows[place] = Window(place)
        return window

    def _close_windows(self) -> None:
        """Close what both topics have passed. Where only the predictions have, the histograms go, and the
        window waits for labels."""
        past_ms = self._limits.horizons.late_ms + self._limits.window_ms
        self._close(min(self._times.predictions_ms, self._times.feedback_ms) - past_ms)
        filled_ms = self._times.predictions_ms - past_ms
        for key, window in self._windows.items():
            if key.start_ms < filled_ms:
                window.shed()
        if len(self._windows) > MAX_WINDOWS:
            starts_ms = sorted(key.start_ms for key in self._windows)
            # Never one that predictions may still come into: for those, the limit on versions is enough.
            self._close(min(starts_ms[-MAX_WINDOWS] + 1, filled_ms))

    def _close(self, before_ms: int) -> None:
        self._closed_ms = max(self._closed_ms, before_ms)
        for key in [key for key in self._windows if key.start_ms < self._closed_ms]:
            del self._windows[key]

    def _due(self) -> tuple[Example, ...]:
        now_ms = max(self._times.predictions_ms, self._times.feedback_ms)
        waited_ms = now_ms - self._flushed_ms
        if waited_ms < self._limits.flush_interval_ms and len(self._examples) < self._limits.flush_examples:
            return ()
        due, self._examples = tuple(self._examples), []
        self._flushed_ms = now_ms
        return due

    def _restore(self, dump: bytes) -> None:
        try:
            held = msgspec.msgpack.decode(dump, type=_Dump)
        except msgspec.MsgspecError as error:
            raise _unreadable(f"is not one of this program's: {error}") from error
        if held.format != DUMP_FORMAT:
            raise _unreadable(f"has format {held.format}, this program reads {DUMP_FORMAT}")
        if held.window_ms != self._limits.window_ms:
            raise Misconfigured(
                f"the snapshot has windows of {held.window_ms} ms, not {self._limits.window_ms} ms as set",
                next_step=f"set DRIFT_WINDOW_MS={held.window_ms}, or drop the schema `drift` to start anew",
            )
        self._times, self._closed_ms, self._flushed_ms = held.times, held.closed_ms, held.flushed_ms
        self._left_out.update(held.left_out)
        self._totals = {each.key: each for each in held.totals}
        self._versions.update(key.model for key in self._totals)
        self._changed_totals = set(self._totals)
        self._windows = {row.key: Window.restore(row) for row in held.windows}
        self._answers.restore(held.remembered)
        self._examples = list(held.examples)


def _unreadable(problem: str) -> Misconfigured:
    return Misconfigured(f"the snapshot {problem}", next_step=_ANEW)
