"""What every consumer must do, whether in a group or alone."""

import asyncio
from functools import partial

import pytest

from libs.common.bus.ports import Message, TopicPartition
from libs.common.errors import Fenced, Misconfigured
from schemas.topics import UNIT_PARTITIONS
from tests.contract.bus.place import (
    BOTH,
    CONVERSIONS,
    EXPOSURES,
    Notes,
    Place,
    at_end,
    every,
    fresh,
    messages,
    numbers,
    read_until,
    running,
    settle,
)


class ReadingContract:
    """The promises of Consumer that need no second member."""

    async def test_readers_each_read_everything_from_the_beginning(self, place: Place) -> None:
        """Readers that start after the records were sent get all of them, in order per key."""
        run = fresh()
        async with running(place.bus.producer()) as producer:
            await producer.send_all(messages(run, 30))
        for _ in range(2):
            async with running(place.bus.reader([EXPOSURES])) as reader:
                found = await read_until([reader], lambda each: len(each) >= 30, run=run)
            assert sorted(numbers(found)) == list(range(30))
            for key in {each.key for each in found}:
                mine = numbers([each for each in found if each.key == key])
                assert mine == sorted(mine)

    async def test_readers_commit_nothing(self, place: Place) -> None:
        """A commit without a group is a mistake of the caller."""
        async with running(place.bus.reader([EXPOSURES])) as reader:
            with pytest.raises(Misconfigured):
                await reader.commit({TopicPartition(EXPOSURES, 0): 0})

    async def test_a_fetch_wakes_when_something_comes(self, place: Place) -> None:
        """A fetch that may wait half a minute returns as soon as a record is there."""
        run = fresh()
        member = place.bus.consumer(group=run, topics=BOTH, listener=await at_end(place))
        async with running(place.bus.producer()) as producer, running(member):
            await settle([member], lambda: member.assignment() == every(BOTH))
            fetching = asyncio.ensure_future(member.fetch(timeout_ms=30_000, max_records=10))
            await asyncio.sleep(0)
            await producer.send(Message(EXPOSURES, f"{run}-k", b"1"))
            (records,) = (await asyncio.wait_for(fetching, 10)).values()
        assert numbers(records) == [1]

    async def test_a_fetch_returns_empty_when_its_time_is_over(self, place: Place) -> None:
        """With nothing to read a fetch returns nothing, after its time."""
        member = place.bus.consumer(group=fresh(), topics=BOTH, listener=await at_end(place))
        async with running(member):
            await settle([member], lambda: member.assignment() == every(BOTH))
            for timeout_ms in (0, 50):
                assert not await asyncio.wait_for(member.fetch(timeout_ms=timeout_ms, max_records=10), 10)

    async def test_small_fetches_lose_nothing(self, place: Place) -> None:
        """Three records at a time, of two topics, everything arrives once and in order per key."""
        run = fresh()
        listener = await at_end(place)
        async with running(place.bus.producer()) as producer:
            for topic in BOTH:
                await producer.send_all(messages(run, 50, topic=topic))
        member = place.bus.consumer(group=run, topics=BOTH, listener=listener)
        async with running(member):
            found = await read_until([member], lambda each: len(each) >= 100, run=run, max_records=3)
        for topic in BOTH:
            mine = [each for each in found if each.topic == topic]
            assert sorted(numbers(mine)) == list(range(50))
            for key in {each.key for each in mine}:
                kept = numbers([each for each in mine if each.key == key])
                assert kept == sorted(kept)

    async def test_seeking_back_replays(self, place: Place) -> None:
        """After a seek the same records come again; positions say what comes next."""
        run = fresh()
        listener = await at_end(place)
        async with running(place.bus.producer()) as producer:
            landed = await producer.send_all(messages(run, 5, units=1))
        member = place.bus.consumer(group=run, topics=BOTH, listener=listener)
        async with running(member):
            first = await read_until([member], lambda each: len(each) >= 5, run=run)
            partition = TopicPartition(EXPOSURES, first[0].partition)
            assert member.positions()[partition] == first[-1].offset + 1
            await member.seek(partition, first[2].offset)
            assert member.positions()[partition] == first[2].offset
            again = await read_until([member], lambda each: len(each) >= 3, run=run)
            with pytest.raises(Fenced):
                await member.seek(TopicPartition("feedback", 0), 0)
        assert len(landed) == 5
        assert numbers(again) == [2, 3, 4]

    async def test_a_group_reads_on_where_it_has_committed(self, place: Place) -> None:
        """Without a commit a group begins at the beginning, and afterwards behind what it has committed."""
        run = fresh()
        async with running(place.bus.producer()) as producer:
            await producer.send_all(messages(run, 10, units=1))
        make = partial(place.bus.consumer, group=run, topics=[EXPOSURES])
        async with running(make()) as member:
            found = await read_until([member], lambda each: len(each) >= 10, run=run)
            await member.commit({TopicPartition(EXPOSURES, found[0].partition): found[6].offset + 1})
        async with running(make()) as member:
            found = await read_until([member], lambda each: len(each) >= 3, run=run)
        assert numbers(found) == [7, 8, 9]

    async def test_offsets_frame_the_log(self, place: Place) -> None:
        """The end grows by what is sent, and the beginning is never behind it."""
        run = fresh()
        partitions = every([CONVERSIONS])
        async with running(place.bus.producer()) as producer, running(place.bus.reader(BOTH)) as reader:
            before = await reader.end_offsets(partitions)
            landed = await producer.send(Message(CONVERSIONS, f"{run}-k", b"1"))
            after = await reader.end_offsets(partitions)
            beginning = await reader.beginning_offsets(partitions)
        there = TopicPartition(CONVERSIONS, landed.partition)
        assert after == {**before, there: landed.offset + 1}
        assert all(beginning[each] <= after[each] for each in partitions)

    async def test_an_offset_behind_the_end_is_not_reset_silently(self, place: Place) -> None:
        """Wanting what the log never held is Misconfigured, again and again, until a person acts."""
        ends = (await at_end(place)).wanted
        notes = Notes({each: offset + 1_000 for each, offset in ends.items()})
        async with running(place.bus.consumer(group=fresh(), topics=BOTH, listener=notes)) as member:
            for _ in range(2):
                with pytest.raises(Misconfigured, match="behind the end"):
                    await settle([member], lambda: False)

    async def test_retention_that_has_overtaken_a_reader_is_said(self, place: Place) -> None:
        """Wanting what retention has dropped is Misconfigured, and a seek to what is left helps."""
        run = fresh()
        async with running(place.bus.producer()) as producer:
            landed = await producer.send(Message("degradations", f"{run}-k", b"1"))
            await producer.send(Message("degradations", f"{run}-k", b"2"))
        there = TopicPartition("degradations", 0)
        await place.forget(there, landed.offset + 1)
        notes = Notes({there: landed.offset})
        async with running(place.bus.consumer(group=run, topics=["degradations"], listener=notes)) as member:
            with pytest.raises(Misconfigured, match="retention has overtaken"):
                await settle([member], lambda: False)
            await member.seek(there, landed.offset + 1)
            assert numbers(await read_until([member], bool, run=run)) == [2]

    async def test_a_listener_that_fails_is_asked_again(self, place: Place) -> None:
        """Its error reaches the caller, and nothing is handed out before it has taken the partitions."""
        notes = await at_end(place)
        notes.fail_once = LookupError("no state")
        async with running(place.bus.consumer(group=fresh(), topics=BOTH, listener=notes)) as member:
            with pytest.raises(LookupError, match="no state"):
                await settle([member], lambda: False)
            assert member.assignment() == frozenset()
            await settle([member], lambda: len(member.assignment()) == 2 * UNIT_PARTITIONS)
        assert notes.held() == every(BOTH)
