"""What only the bus in memory can do: crash, be away, forget and compact."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.memory import Crash, MemoryBus
from libs.common.bus.ports import Message, TopicPartition
from libs.common.clock import ManualClock
from libs.common.errors import Fenced, Misconfigured, Retryable

TOPIC = "conversions"
KEYS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=40)


async def filled(keys: list[str]) -> MemoryBus:
    """Return a bus that holds one numbered record per key."""
    bus = MemoryBus(ManualClock())
    producer = bus.producer()
    await producer.start()
    await producer.send_all([Message(TOPIC, key, str(number).encode()) for number, key in enumerate(keys)])
    return bus


async def work(bus: MemoryBus, handled: list[int], *, batch: int, total: int) -> None:
    """Handle and commit until every number was handled; stop as a process does, whatever happens."""
    member = bus.consumer(group="g", topics=[TOPIC])
    await member.start()
    try:
        while len(set(handled)) < total:
            for partition, records in (await member.fetch(timeout_ms=10, max_records=batch)).items():
                handled.extend(int(record.value or b"") for record in records)
                try:
                    await member.commit({partition: records[-1].offset + 1})
                except Fenced:
                    continue
    finally:
        await member.stop()


@given(keys=KEYS, after=st.integers(1, 40), batch=st.integers(1, 9), others=st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_a_crash_at_any_record_loses_nothing(keys: list[str], after: int, batch: int, others: int) -> None:
    """Whoever dies at whichever record, its successor and the other members handle what it had not committed,
    and the first handling of each key's records is in order."""

    async def run() -> list[int]:
        bus = await filled(keys)
        handled: list[int] = []
        bus.crash_at(TOPIC, after=after, group="g")
        workers = [work(bus, handled, batch=batch, total=len(keys)) for _ in range(1 + others)]
        ends = await asyncio.gather(*workers, return_exceptions=True)
        if after <= len(keys):
            assert sum(isinstance(end, Crash) for end in ends) <= 1
        await work(bus, handled, batch=batch, total=len(keys))
        return handled

    handled = asyncio.run(run())
    assert set(handled) == set(range(len(keys)))
    firsts = list(dict.fromkeys(handled))
    for key in set(keys):
        mine = [number for number in firsts if keys[number] == key]
        assert mine == sorted(mine)


@given(keys=KEYS)
@settings(deadline=None)
def test_compaction_keeps_the_latest_of_each_key(keys: list[str]) -> None:
    """After compaction a state topic holds the last value of each key at its old offset; facts stay."""

    async def run() -> None:
        bus = await filled(keys)
        producer = bus.producer()
        await producer.start()
        for number, key in enumerate(keys):
            await producer.send(Message("models", key, None if number % 5 == 4 else str(number).encode()))
        before = {record.key: record for record in bus.records("models")}
        bus.compact()
        kept = [record for record in before.values() if record.value is not None]
        assert bus.records("models") == sorted(kept, key=lambda record: record.offset)
        assert len(bus.records(TOPIC)) == len(keys)
        reader = bus.reader(["models"])
        await reader.start()
        found = await reader.fetch(timeout_ms=0, max_records=100)
        assert [record for records in found.values() for record in records] == bus.records("models")

    asyncio.run(run())


async def test_exactly_as_many_records_pass_as_were_allowed() -> None:
    """A crash after three records hands out three; then all that was open is dead, and new ones live."""
    bus = await filled(["a"] * 5)
    bus.crash_at(TOPIC, after=3)
    reader, producer = bus.reader([TOPIC]), bus.producer()
    await reader.start()
    await producer.start()
    (records,) = (await reader.fetch(timeout_ms=0, max_records=100)).values()
    assert len(records) == 3
    with pytest.raises(Crash):
        await reader.fetch(timeout_ms=0, max_records=100)
    with pytest.raises(Crash):
        await producer.send(Message(TOPIC, "a", b""))
    again = bus.reader([TOPIC])
    await again.start()
    assert len(next(iter((await again.fetch(timeout_ms=0, max_records=100)).values()))) == 5


async def test_a_producer_can_crash_between_two_messages() -> None:
    """A crash after two sent messages leaves two in the log, and the batch has no answer."""
    bus = await filled([])
    bus.crash_at(TOPIC, after=2, on="sent")
    producer = bus.producer()
    await producer.start()
    with pytest.raises(Crash):
        await producer.send_all([Message(TOPIC, "a", b"1")] * 4)
    assert len(bus.records(TOPIC)) == 2


async def test_an_outage_is_retryable_and_loses_nothing() -> None:
    """While the bus is down everything raises or answers Retryable; a waiting fetch hears of it at once."""
    bus = await filled(["a"])
    producer, member = bus.producer(), bus.consumer(group="g", topics=[TOPIC])
    await producer.start()
    await member.start()
    assert await member.fetch(timeout_ms=0, max_records=10)
    waiting = asyncio.ensure_future(member.fetch(timeout_ms=60_000, max_records=10))
    await asyncio.sleep(0)
    bus.down()
    with pytest.raises(Retryable):
        await asyncio.wait_for(waiting, 5)
    assert isinstance((await producer.send_all([Message(TOPIC, "a", b"")]))[0], Retryable)
    for call in (member.commit({}), producer.send(Message(TOPIC, "a", b"")), bus.producer().start()):
        with pytest.raises(Retryable):
            await call
    with pytest.raises(Retryable):
        await bus.admin().ensure_topics([TOPIC])
    bus.up()
    assert (await producer.send(Message(TOPIC, "a", b""))).offset == 1


async def test_a_stopped_part_says_so() -> None:
    """Using a part before its start or after its stop is a mistake that is named."""
    bus = await filled(["a"])
    reader = bus.reader([TOPIC])
    with pytest.raises(RuntimeError, match="start it first"):
        await reader.fetch(timeout_ms=0, max_records=1)
    with pytest.raises(RuntimeError, match="start it first"):
        await bus.producer().send(Message(TOPIC, "a", b""))


async def test_what_was_found_comes_before_the_bad_news() -> None:
    """When one partition is overtaken, records already taken from others are handed out, not lost."""
    bus = await filled([f"k{number}" for number in range(20)])
    reader = bus.reader([TOPIC])
    await reader.start()
    bus.forget(TopicPartition(TOPIC, 0), before=3)
    found = 0

    async def count() -> None:
        nonlocal found
        while fetched := await reader.fetch(timeout_ms=0, max_records=100):
            found += sum(map(len, fetched.values()))

    with pytest.raises(Misconfigured, match="retention has overtaken"):
        await count()
    await reader.seek(TopicPartition(TOPIC, 0), 3)
    await count()
    assert found == len(bus.records(TOPIC))
