"""After a rollback: exposures verify it, or show a leak; late ones raise no alarm."""

import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from libs.common.bus.batches import Batch
from libs.common.bus.memory import MemoryBus
from libs.common.bus.ports import Message
from libs.common.clock import ManualClock
from libs.common.errors import Retryable
from schemas.experiments import Experiment, ExperimentState, Variant, VerdictKind
from schemas.facts import Exposure
from schemas.health import AlertState, Severity
from services.metrics.adapters.log_ends import LogEnds
from services.metrics.domain.cases import Case, Judgement
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.leaks import LEAK_OVER_MS, LOOK_AGAIN_MS, Watch
from services.metrics.domain.log_marks import LogMark, LogMarks
from services.metrics.domain.memory import JudgeMemory
from services.metrics.domain.partition import MetricsPartition, MetricsPartitions
from services.metrics.domain.totals import ExperimentTotals, VariantTotals
from services.metrics.handlers.judge import judge
from services.metrics.handlers.judge_due import JudgeDue
from services.metrics.handlers.watch_log import WatchLog
from tests.unit.metrics.events import T0, exposure, record
from tests.unit.metrics.test_judge import Life, result_of, running, totals

END_MS = 100_000
GRACE_MS, DELAY_MS = 5_000, 5_000
IN_TIME_MS, LATE_MS = END_MS + GRACE_MS, END_MS + GRACE_MS + 1


def rolled_back(verified_at_ms: int | None = None) -> Experiment:
    """Return an experiment that was rolled back 100 s after the start of time."""
    state = ExperimentState.ROLLED_BACK
    return running(revision=2, state=state, ended_at_ms=T0 + END_MS, verified_at_ms=verified_at_ms)


def read_to(ms: int) -> Watch:
    """Return what is known when the log is read up to this moment."""
    return Watch(GRACE_MS, DELAY_MS, T0 + ms)


def met(**last_ms: int) -> ExperimentTotals:
    """Return totals of variants whose latest exposures happened then; what is late is of one unit."""
    variants = {
        key: VariantTotals(50, 60, 5, T0 + each, int(each > IN_TIME_MS)) for key, each in last_ms.items()
    }
    return ExperimentTotals(variants, {}, 0, T0 + max(last_ms.values()), {"exposures-0": 7})


def test_a_rollback_is_verified_once_when_the_log_is_read_beyond_grace_and_delay() -> None:
    """Not before; for control; with an id that is derived; and no further result goes out for it."""
    life = Life(rolled_back())
    quiet, enough_ms = met(a=LATE_MS + 9, b=IN_TIME_MS), END_MS + GRACE_MS + DELAY_MS
    first = life.look(quiet, now_ms=END_MS + 900)
    assert (first.verdict, first.again_at_ms) == (None, T0 + END_MS + 900 + LOOK_AGAIN_MS)
    early = life.look(quiet, watch=read_to(enough_ms - 1), fresh=False)
    assert (early.verdict, early.result) == (None, None)
    memory = life.memory
    found = life.look(quiet, watch=read_to(enough_ms), fresh=False)
    assert found.verdict is not None
    assert (found.verdict.kind, found.verdict.variant) == (VerdictKind.VERIFY, "a")
    assert (found.result, found.again_at_ms, found.alerts) == (None, None, ())
    again = life.look(quiet, watch=read_to(enough_ms + 9))
    assert again.verdict is None
    assert result_of(again).revision == 2
    life.memory = memory
    twice = life.look(quiet, watch=read_to(enough_ms + 1_000)).verdict
    assert twice is not None
    assert twice.verdict_id == found.verdict.verdict_id


def test_a_rollback_that_nobody_had_met_is_verified_by_the_log_alone() -> None:
    """No unit, no partition's event time: what counts is that the log was read."""
    verdict = Life(rolled_back()).look(totals({}), watch=read_to(END_MS + GRACE_MS + DELAY_MS)).verdict
    assert verdict is not None
    assert verdict.kind is VerdictKind.VERIFY


@pytest.mark.parametrize(
    "subject",
    [
        rolled_back(verified_at_ms=T0 + END_MS + 20_000),
        running(state=ExperimentState.ROLLED_BACK),
        running(state=ExperimentState.STOPPED, ended_at_ms=T0 + END_MS),
        running(state=ExperimentState.PROMOTED, ended_at_ms=T0 + END_MS, promoted_variant="b"),
    ],
)
def test_nothing_else_is_verified(subject: Experiment) -> None:
    """One that is verified, has no known end, was stopped or promoted: no verdict, nothing to wait for."""
    found = Life(subject).look(met(a=0, b=IN_TIME_MS), watch=read_to(END_MS * 9))
    assert (found.verdict, found.again_at_ms, found.alerts) == (None, None, ())


def test_a_leak_after_a_rollback_is_one_critical_episode_and_verified_only_when_over() -> None:
    """Opened at once, with variant and units; resolved after a quiet minute of the log; then verified."""
    life = Life(rolled_back())
    leaking = met(a=0, b=LATE_MS)
    opened = life.look(leaking, now_ms=LATE_MS)
    assert [(each.cause, each.severity, each.state) for each in opened.alerts] == [
        ("leak", Severity.CRITICAL, AlertState.OPENED)
    ]
    assert ": b; 1 units" in opened.alerts[0].detail
    over_ms = LATE_MS + LEAK_OVER_MS + DELAY_MS
    goes_on = life.look(leaking, watch=read_to(over_ms - 1), fresh=False)
    assert (goes_on.alerts, goes_on.verdict, goes_on.again_at_ms is None) == ((), None, False)
    over = life.look(leaking, watch=read_to(over_ms), fresh=False)
    assert [(each.state, each.detail) for each in over.alerts] == [
        (AlertState.RESOLVED, "it no longer holds")
    ]
    assert over.verdict is not None
    assert "when a leak ended" in over.verdict.reason
    blind = life.look(leaking)
    assert (blind.alerts, blind.verdict, blind.again_at_ms) == ((), None, None)


def test_a_leak_that_comes_back_is_a_new_episode_also_after_the_verdict() -> None:
    """A client that wakes up later is told of, with an id of its own."""
    life = Life(rolled_back())
    opened = life.look(met(a=0, b=LATE_MS))
    life.look(met(a=0, b=LATE_MS), watch=read_to(LATE_MS + LEAK_OVER_MS + DELAY_MS))
    later = life.look(met(a=0, b=2 * LATE_MS))
    assert [each.state for each in later.alerts] == [AlertState.OPENED]
    assert later.alerts[0].alert_id != opened.alerts[0].alert_id


def test_a_leak_that_was_over_before_anybody_looked_is_told_all_the_same() -> None:
    """The judge was away for an hour: opened, and resolved with the next look."""
    life = Life(rolled_back())
    long_ago = read_to(LATE_MS + 10 * LEAK_OVER_MS)
    states = [[each.state for each in life.look(met(b=LATE_MS), watch=long_ago).alerts] for _ in range(3)]
    assert states == [[AlertState.OPENED], [AlertState.RESOLVED], []]


def test_a_weight_of_0_leaks_by_event_time_after_the_grace_and_not_a_minute_later() -> None:
    """An exposure from before the change, read late, is none; one just after the grace is."""
    before = running(variants=(Variant(key="a"), Variant(key="b"), Variant(key="c")))
    without = (Variant(key="a"), Variant(key="b", weight=0), Variant(key="c"))
    life = Life(before)
    life.look(met(a=10, b=10, c=10))
    life.experiment = before.model_copy(
        update={"variants": without, "revision": 2, "updated_at_ms": T0 + END_MS}
    )
    late_but_old = met(a=9 * END_MS, b=IN_TIME_MS, c=9 * END_MS)
    assert [life.look(late_but_old).alerts for _ in range(2)] == [(), ()]
    leaking = life.look(met(a=9 * END_MS, b=LATE_MS, c=9 * END_MS), now_ms=LATE_MS)
    assert [each.cause for each in leaking.alerts] == ["leak"]


def test_a_judge_that_comes_late_takes_no_old_exposure_for_a_leak() -> None:
    """Without a memory it counts from the last change on: what happened before may have been in order."""
    variants = (Variant(key="a"), Variant(key="b", weight=0), Variant(key="c"))
    changed = {"revision": 5, "updated_at_ms": T0 + END_MS}
    life = Life(running().model_copy(update={"variants": variants, **changed}))
    assert life.look(met(a=END_MS, b=IN_TIME_MS, c=END_MS)).alerts == ()
    assert [each.cause for each in life.look(met(a=END_MS, b=LATE_MS, c=END_MS)).alerts] == ["leak"]


def test_a_result_that_was_refused_stays_an_alert_while_only_time_passes() -> None:
    """No result is offered then, so nobody knows whether it would be taken now."""
    life = Life(running(variants=(Variant(key="a"), Variant(key="b", weight=0))))
    refused = judge(Case(life.experiment, met(a=0, b=1), life.memory), T0, refusal="too large")
    life.memory = refused.memory
    assert {each.cause for each in refused.alerts} == {"leak", "result-refused"}
    assert life.look(met(a=0, b=1), fresh=False).alerts == ()
    assert [each.cause for each in life.look(met(a=0, b=1)).alerts] == ["result-refused"]


class Line:
    """Two partitions of exposures that are read in any order, and the judge over their rows."""

    def __init__(self, definitions: Definitions) -> None:
        make = MetricsPartitions(definitions)
        self.states: list[MetricsPartition] = [make(0, None), make(1, None)]
        self.rows: dict[tuple[int, str], VariantTotals] = {}

    def fold(self, events: Sequence[tuple[Exposure, int]]) -> None:
        """Take in exposures, each with when its record was written."""
        for event, written_ms in events:
            state = self.states[sum(event.unit_id.encode()) % 2]
            state.fold("exposures", Batch.of([record("exposures", event.to_json(), 0, T0 + written_ms)]))

    def totals(self) -> ExperimentTotals:
        """Return what the judge would read."""
        for number, state in enumerate(self.states):
            for row in (each for experiment in state.rows() for each in experiment.variants):
                counts = row.units, row.exposures, row.conversions
                self.rows[number, row.variant] = VariantTotals(*counts, row.last_exposed_ms, row.late_units)
        found: dict[str, VariantTotals] = {}
        for (_, variant), each in self.rows.items():
            old = found.get(variant, VariantTotals())
            found[variant] = VariantTotals(
                old.units + each.units,
                old.exposures + each.exposures,
                old.conversions + each.conversions,
                max(old.last_exposed_ms, each.last_exposed_ms),
                old.late_units + each.late_units,
            )
        return ExperimentTotals(found, {}, 0, T0 + END_MS)


def stragglers(chance: random.Random) -> list[tuple[Exposure, int]]:
    """Return a thousand exposures up to the end of the grace: read up to an hour late and in any order, some
    by clocks that are up to an hour ahead though their records were written in time."""
    events = []
    for number in range(1_000):
        happened_ms = chance.randrange(IN_TIME_MS + 1)
        unit, variant = f"u{number}", chance.choice("ab")
        if chance.random() < 0.1:
            events.append((exposure(unit, variant, happened_ms + chance.randrange(3_600_000)), happened_ms))
        else:
            written_ms = happened_ms + chance.randrange(3_600_000)
            events.append((exposure(unit, variant, happened_ms), written_ms))
    chance.shuffle(events)
    return events


@pytest.mark.parametrize("seed", range(5))
def test_stragglers_within_the_grace_raise_no_alarm(seed: int) -> None:
    """However late they are read, before the judge hears of the rollback and after: no alert, verified."""
    definitions, subject = Definitions(), rolled_back()
    definitions.keep(running())
    line, events = Line(definitions), stragglers(random.Random(seed))
    life = Life(running())
    line.fold(events[:500])
    life.look(line.totals(), now_ms=END_MS - 1)
    life.experiment = subject
    definitions.keep(subject)
    found = []
    for start in range(500, 1_000, 50):
        line.fold(events[start : start + 50])
        found.append(life.look(line.totals(), now_ms=END_MS + start))
    found.append(life.look(line.totals(), watch=read_to(END_MS + GRACE_MS + DELAY_MS), fresh=False))
    assert [each.alerts for each in found] == [()] * 11
    assert [each.verdict.kind for each in found if each.verdict] == [VerdictKind.VERIFY]


@pytest.mark.parametrize("known_first", [True, False])
def test_late_units_are_counted_whenever_the_end_is_heard_of(known_first: bool) -> None:
    """Two units are new to the variant after the grace, one that knew it meets it again: the same rows
    whether the end was known before the exposures or comes after them, and after a restart from a dump."""
    definitions = Definitions()
    definitions.keep(rolled_back() if known_first else running())
    line = Line(definitions)
    events = [("old", 0), ("one", LATE_MS), ("old", LATE_MS + 7), ("two", LATE_MS + 5), ("three", IN_TIME_MS)]
    line.fold([(exposure(unit, "b", at_ms), at_ms) for unit, at_ms in events])
    line.totals()
    definitions.keep(rolled_back())
    found = line.totals().variants["b"]
    assert (found.units, found.late_units, found.last_exposed_ms) == (4, 2, T0 + LATE_MS + 7)
    make = MetricsPartitions(definitions)
    line.states = [make(number, state.dump()) for number, state in enumerate(line.states)]
    line.rows.clear()
    assert line.totals().variants["b"] == found


def test_a_mark_counts_once_every_partition_is_read_to_it() -> None:
    """One partition short, and it is not known; totals from before a reset are not taken for later ones."""
    marks = LogMarks()
    assert marks.read_to_ms({"exposures-0": 9}) == 0
    marks.note(LogMark(5, {"exposures-0": 3, "exposures-1": 4, "exposures-2": 0}))
    assert marks.read_to_ms({"exposures-0": 9, "exposures-1": 3}) == 0
    assert marks.read_to_ms({"exposures-0": 3, "exposures-1": 4}) == 5
    assert marks.read_to_ms({"exposures-0": 3}) == 0
    marks.note(LogMark(6, {}))
    assert marks.read_to_ms({"exposures-0": 3, "exposures-1": 4}) == 5


class Awaiting:
    """One rolled back experiment that is always due; ingest has read what `offsets` says."""

    def __init__(self) -> None:
        self.offsets: Mapping[str, int] = {}
        self.life = Life(rolled_back())
        self.verdicts: list[VerdictKind] = []

    async def due(self, *, judged_before_ms: int, limit: int) -> Sequence[str]:
        """Return it."""
        return ["x"]

    async def settle(self, experiment_id: str, decide: Callable[[Case], Judgement]) -> None:
        """Decide on the spot, and remember."""
        found = ExperimentTotals({}, {}, 0, 0, self.offsets)
        judgement = decide(Case(self.life.experiment, found, self.life.memory, fresh=False))
        self.life.memory = judgement.memory
        self.verdicts += [judgement.verdict.kind] if judgement.verdict else []


async def test_the_tick_verifies_when_ingest_has_read_the_log_as_it_was_after_the_delay() -> None:
    """Where the log ends is asked while somebody waits; no verdict while ingest lags behind that."""
    clock, bus, cases = ManualClock(T0 + END_MS), MemoryBus(ManualClock(T0)), Awaiting()
    await bus.admin().ensure_topics(["exposures"])
    producer = bus.producer()
    await producer.start()
    sent = await producer.send(Message("exposures", "u", exposure("u", "b", 0).to_json()))
    log_read = WatchLog(LogEnds(bus), clock, Watch(GRACE_MS, DELAY_MS))
    tick = JudgeDue(cases, clock, min_interval_ms=0, log_read=log_read)
    for _ in range(30):
        clock.advance(1_000)
        await tick()
    assert cases.verdicts == []
    cases.offsets = {f"exposures-{sent.partition}": 1}
    for _ in range(3):
        clock.advance(10_000)
        await tick()
    assert cases.verdicts == [VerdictKind.VERIFY]
    assert cases.life.memory != JudgeMemory()


async def test_a_bus_that_does_not_answer_delays_the_verdict_and_nothing_else() -> None:
    """The tick goes on judging, and asks again a second later."""
    asked = []

    async def ends() -> Mapping[str, int]:
        asked.append(1)
        raise Retryable("no broker answers")

    clock, cases = ManualClock(T0 + 2 * END_MS), Awaiting()
    tick = JudgeDue(
        cases, clock, min_interval_ms=0, log_read=WatchLog(ends, clock, Watch(GRACE_MS, DELAY_MS))
    )
    for _ in range(4):
        await tick()
        clock.advance(500)
    assert (len(asked), cases.verdicts) == (2, [])
