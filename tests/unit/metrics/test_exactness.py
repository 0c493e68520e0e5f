"""Everything that a partition publishes, held to the audit's recount of the same log: all kinds of metrics,
winsorising, covariates, sketches, hours, segments and last exposures of two experiments, in any order, with
poison, ids that come again and crashes in between."""

import random
from collections import Counter
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.batches import Batch
from libs.common.bus.ports import Record
from schemas.facts import Conversion, Exposure
from services.metrics.audit.numbers import of_last_exposed, of_metric, of_variant
from services.metrics.audit.recompute import Recount
from services.metrics.domain.definitions import Definitions
from services.metrics.domain.partition import MetricsPartition, MetricsPartitions
from tests.unit.metrics.events import T0, record, topic_of
from tests.unit.metrics.logs import (
    KEYS,
    LOGS,
    NAMES,
    fold,
    known,
    merged,
    nonzero,
    numbered,
    poison_in,
    published,
    recount,
    spec,
    written,
)

MET = Exposure(event_id="e1", occurred_at_ms=T0, unit_id="u1", experiment_id="x", variant="a")
DONE = Conversion(event_id="c1", occurred_at_ms=T0, unit_id="u1", name="purchase", value=2.0)


@given(LOGS, st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_every_number_equals_the_recount(log: list[Record], chance: random.Random) -> None:
    """Shuffled and repeated, in fetches and batches of any size, published again and again: what is no event
    is refused, and what stands at the end is the recount of the log as it was read."""
    shuffled = [*log, *chance.choices(log, k=len(log) // 2)] if log else []
    chance.shuffle(shuffled)
    shuffled = numbered(shuffled)
    state = MetricsPartitions(known())(0, None)
    numbers: Recount = Counter()
    refused: list[int] = []
    step = chance.randrange(1, 46)
    for start in range(0, len(shuffled), step):
        fetched = sorted(shuffled[start : start + step], key=lambda each: each.topic)
        found = fold(state, fetched, batch=chance.randrange(1, 46))
        refused += [each.record.offset for each in found]
        published(state.rows(), numbers)
    assert sorted(refused) == poison_in(shuffled)
    assert nonzero(numbers) == recount(shuffled)


@given(LOGS, st.integers(0, 30))
@settings(max_examples=200, deadline=None)
def test_a_definition_that_comes_late_changes_no_number(log: list[Record], when: int) -> None:
    """Attributes wait for the definition that asks for them."""
    definitions = Definitions()
    state = MetricsPartitions(definitions)(0, None)
    fold(state, log[:when])
    numbers = published(state.rows(), Counter())
    for key in KEYS:
        definitions.keep(spec(key))
    fold(state, log[when:])
    assert nonzero(published(state.rows(), numbers)) == recount(log)


@given(LOGS, st.integers(0, 30), st.integers(0, 30), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_snapshot_is_of_the_moment_when_it_was_begun(
    log: list[Record], begun: int, replayed: int, chance: random.Random
) -> None:
    """A snapshot that is encoded while events go on being folded holds none of them: what starts from it and
    reads them, some of the earlier ones again, publishes the recount."""
    state = MetricsPartitions(known())(0, None)
    fold(state, log[:begun])
    numbers = published(state.rows(), Counter())
    dump = state.dump()
    before = [next(dump)] if chance.random() < 0.5 else []
    fold(state, log[begun:])
    again: MetricsPartition = MetricsPartitions(known())(0, [*before, *dump])
    assert nonzero(published(again.rows(), Counter(numbers))) == recount(log[:begun])
    fold(again, log[min(begun, replayed) :])
    assert nonzero(published(again.rows(), numbers)) == recount(log)


@given(LOGS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_partitions_add_up(log: list[Record], chance: random.Random) -> None:
    """Units spread over any number of partitions: the sums over these are those of one."""
    count = chance.randrange(1, 4)
    place = {unit.encode(): chance.randrange(count) for unit in NAMES}
    parts: list[Recount] = []
    for number in range(count):
        state = MetricsPartitions(known())(number, None)
        fold(state, [each for each in log if place[each.key or b""] == number])
        parts.append(published(state.rows(), Counter()))
    assert nonzero(reduce(merged, parts)) == recount(log)


def test_the_last_exposure_is_the_latest_and_none_is_later_than_its_record() -> None:
    """Of three in one batch, with poison between them under a stamp of its own, and of an earlier one after
    them: the second, whose clock was ahead, happened when it was written, and is the latest."""
    events = [
        MET.model_copy(update={"event_id": f"e{at_ms}", "unit_id": f"u{at_ms}", "occurred_at_ms": T0 + at_ms})
        for at_ms in (1_000, 9_000, 2_000, 500)
    ]
    log = [written(each, gap_ms) for each, gap_ms in zip(events, (5, -6_000, 10**9, 10**9), strict=True)]
    log.insert(1, log[0]._replace(value=b"{", timestamp_ms=T0 + 8_000))
    state = MetricsPartitions(known())(0, None)
    assert len(fold(state, numbered(log), batch=4)) == 1
    assert state.rows()[0].variants[0].last_exposed_ms == T0 + 3_000
    assert recount(log)["x", *of_last_exposed("a")] == T0 + 3_000


def test_of_events_with_one_id_the_first_is_believed() -> None:
    """In one batch as in two: neither the other variant nor the other value is seen."""
    exposures = [written(MET, 0), written(MET.model_copy(update={"variant": "b"}), 0)]
    conversions = [written(DONE, 0), written(DONE.model_copy(update={"value": 3.0}), 0)]
    for batch in (1, 2):
        state = MetricsPartitions(known())(0, None)
        fold(state, [*exposures, *conversions], batch)
        numbers = published(state.rows(), Counter())
        assert numbers["x", *of_variant("a", "units")] == 1
        assert numbers["x", *of_metric("revenue", "a", "total")] == 2_000_000
        assert numbers["x", *of_variant("b", "exposures")] == 0


def test_one_id_in_two_experiments_is_two_events() -> None:
    """A client that numbers the exposures of each experiment by itself is counted in both."""
    state = MetricsPartitions(known())(0, None)
    fold(state, [written(MET.model_copy(update={"experiment_id": key}), 0) for key in KEYS], batch=2)
    assert [(row.experiment_id, row.variants[0].units) for row in state.rows()] == [("x", 1), ("y", 1)]


def test_events_that_lie_too_far_behind_their_records_count_for_nothing() -> None:
    """More than a year behind the record: neither poison nor counted; its neighbour is."""
    makes = MetricsPartitions(known())
    state = makes(0, None)
    old = MET.model_copy(update={"occurred_at_ms": 0})
    new = MET.model_copy(update={"event_id": "e2", "unit_id": "u2"})
    batch = Batch.of([record(topic_of(each), each.to_json(), n) for n, each in enumerate([old, new])])
    assert state.fold("exposures", batch) == []
    assert makes.outcomes.too_old == 1
    assert state.rows()[0].variants[0].units == 1


def test_a_snapshot_that_is_given_up_says_nothing_any_more() -> None:
    """Closed before its first chunk it holds nothing; the next one is whole."""
    state = MetricsPartitions(known())(0, None)
    fold(state, [written(MET, 0)])
    given_up = state.dump()
    given_up.close()
    fold(state, [written(MET.model_copy(update={"event_id": "e2", "occurred_at_ms": T0 + 1}), 0)])
    assert list(given_up) == []
    again = MetricsPartitions(known())(0, list(state.dump()))
    assert again.rows()[0].variants[0].exposures == 2
