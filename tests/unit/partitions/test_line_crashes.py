"""Whoever dies and whenever: the published rows are those of a worker that never died."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.lifecycle import Stop

RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["exposures", "conversions"]),
        st.sampled_from([f"unit-{number}" for number in range(9)]),
        st.sampled_from(["1", "1", "2", "7", "poison"]),
    ),
    max_size=60,
)
SPOTS = st.one_of(
    st.tuples(st.sampled_from(["exposures", "conversions"]), st.integers(1, 40)),
    st.tuples(st.sampled_from(["publish", "snapshot"]), st.integers(1, 12), st.booleans()),
)
CAREFUL = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@CAREFUL
@given(records=RECORDS, later=RECORDS, spots=st.lists(SPOTS, max_size=5))
def test_killed_anywhere(workshop: Any, records: Any, later: Any, spots: Any) -> None:
    """Workers that are killed at any record, publish or snapshot, one after the other, publish the truth, no
    sum ever falls, and all poison is buried."""

    async def scenario() -> None:
        shop = workshop()
        await shop.send(records)
        for number, spot in enumerate(spots):
            if len(spot) == 2:
                shop.bus.crash_at(spot[0], after=spot[1], group="counters")
            else:
                shop.store.crash_at = (spot[0], shop.store.calls[spot[0]] + spot[1], spot[2])
            if await shop.work_until_killed() and number == 0:
                await shop.send(later)
        shop.store.crash_at = None
        while await shop.work_until_killed():
            pass
        assert shop.result() == shop.truth()
        assert shop.went_backwards() == []
        assert buried(shop) == poison(shop)

    asyncio.run(scenario())


def poison(shop: Any) -> set[tuple[str, int, int]]:
    """Return the places of what no worker can take."""
    topics = ("exposures", "conversions")
    records = [record for topic in topics for record in shop.bus.records(topic) if record.value == b"poison"]
    return {(record.topic, record.partition, record.offset) for record in records}


def buried(shop: Any) -> set[tuple[str, int, int]]:
    """Return the places that dead letters name."""
    letters = [json.loads(record.value) for record in shop.bus.records("dead-letters")]
    return {(letter["topic"], letter["partition"], letter["offset"]) for letter in letters}


@CAREFUL
@given(records=RECORDS, pauses=st.lists(st.integers(1, 9), max_size=4), kills=st.integers(0, 3))
def test_many_owners(workshop: Any, records: Any, pauses: Any, kills: int) -> None:
    """While workers join, leave and are killed, every partition is written by rising epochs only: two owners
    never both write; and the result is the truth."""

    async def scenario() -> None:
        shop = workshop()
        await shop.send(records)
        await run_together(shop, records, pauses, kills)
        while await shop.work_until_killed():
            pass
        assert shop.result() == shop.truth()
        assert shop.went_backwards() == []
        assert all(epochs == sorted(epochs) for epochs in shop.store.epochs.values())

    asyncio.run(scenario())


async def run_together(shop: Any, records: Any, pauses: Any, kills: int) -> None:
    """Let one worker after the other join; kill some of them in mid-work, stop the others. What else ends
    one is raised."""
    stops, tasks = [], []
    for number, pause_ms in enumerate(pauses):
        stop = Stop()
        task = asyncio.create_task((await shop.line()).run(stop))
        await asyncio.sleep(pause_ms / 1_000)
        await shop.send(records[:number])
        if number < kills:
            task.cancel()
        stops.append(stop)
        tasks.append(task)
    for stop in stops:
        stop.set("the test is over")
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for number, answer in enumerate(answers):
        if isinstance(answer, BaseException) and not (
            isinstance(answer, asyncio.CancelledError) and number < kills
        ):
            raise answer
