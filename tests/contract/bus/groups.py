"""What every consumer group must do when members come, go and fall out."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import pytest

from libs.common.bus.ports import Consumer, Record, TopicPartition
from libs.common.errors import Fenced
from schemas.topics import UNIT_PARTITIONS
from tests.contract.bus.place import (
    BOTH,
    DEADLINE_S,
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
    shared_out,
)


@dataclass
class _Crew:
    """Workers of one group that handle a few records at a time and commit behind each handful."""

    place: Place
    run: str
    sent: int = 0
    handled: set[int] = field(default_factory=set)
    shares: dict[str, frozenset[TopicPartition]] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self, name: str) -> None:
        """Handle until asked to leave."""
        self.shares[name] = frozenset()
        async with running(self.place.bus.consumer(group=self.run, topics=[EXPOSURES])) as member:
            while name not in self.leaving:
                fetched = await member.fetch(timeout_ms=50, max_records=5)
                for partition, records in fetched.items():
                    ours = [each for each in records if (each.key or b"").startswith(self.run.encode())]
                    self.handled.update(numbers(ours))
                    with suppress(Fenced):
                        await member.commit({partition: records[-1].offset + 1})
                self.shares[name] = member.assignment()
                self._changed.set()
        del self.shares[name]

    async def shared_out_among(self, names: str) -> None:
        """Wait until these workers have all partitions, and each some."""
        await self._until(
            lambda: (
                self.shares.keys() == set(names)
                and all(self.shares.values())
                and sum(map(len, self.shares.values())) == UNIT_PARTITIONS
            )
        )

    async def handled_all(self) -> None:
        """Wait until everything that was sent was handled."""
        await self._until(lambda: len(self.handled) == self.sent)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()


class GroupContract:
    """The promises of Consumer to the members of one group."""

    async def test_equal_partition_numbers_go_to_the_same_member(self, place: Place) -> None:
        """Two members share the partitions so that one worker sees everything about a unit."""
        run = fresh()
        async with AsyncExitStack() as stack:
            members: list[Consumer] = []
            for _ in range(2):
                member = place.bus.consumer(group=run, topics=BOTH, listener=await at_end(place))
                members.append(await stack.enter_async_context(running(member)))
            await settle(members, lambda: shared_out(members))
            for member in members:
                shares = [{each.partition for each in member.assignment() if each.topic == t} for t in BOTH]
                assert shares[0] == shares[1]

    async def test_what_stays_is_not_revoked_and_what_goes_is(self, place: Place) -> None:
        """A joiner takes some partitions, and gives them back when it leaves: the other hears just those."""
        run = fresh()
        first, second = await at_end(place), await at_end(place)
        async with running(place.bus.consumer(group=run, topics=BOTH, listener=first)) as stays:
            await settle([stays], lambda: stays.assignment() == every(BOTH))
            async with running(place.bus.consumer(group=run, topics=BOTH, listener=second)) as goes:
                await settle([stays, goes], lambda: shared_out([stays, goes]))
                share = goes.assignment()
                assert first.held() == stays.assignment()
                assert second.held() == share
            await settle([stays], lambda: stays.assignment() == every(BOTH))
        assert first.heard == [("assigned", every(BOTH)), ("revoked", share), ("assigned", share)]

    async def test_a_member_that_stays_reads_on_where_it_was(self, place: Place) -> None:
        """Without any commit, nobody who keeps a partition reads a record of it twice or skips one."""
        run = fresh()
        wanted = (await at_end(place)).wanted
        async with running(place.bus.producer()) as producer, AsyncExitStack() as stack:
            stays = await stack.enter_async_context(
                running(place.bus.consumer(group=run, topics=BOTH, listener=Notes(wanted)))
            )
            await producer.send_all(messages(run, 40))
            before = await read_until([stays], lambda each: len(each) >= 40, run=run)
            goes = await stack.enter_async_context(
                running(place.bus.consumer(group=run, topics=BOTH, listener=Notes(wanted)))
            )
            await settle([stays, goes], lambda: shared_out([stays, goes]))
            await producer.send_all(messages(run, 80)[40:])
            kept = {each.partition for each in stays.assignment()}
            expected = {each for each in range(40, 80) if _partition_of(each, before) in kept}
            found = await read_until([stays], lambda each: len(each) >= len(expected), run=run)
        assert sorted(numbers(before)) == list(range(40))
        assert set(numbers(found)) == expected
        assert len(found) == len(expected)

    async def test_nothing_is_lost_while_members_come_and_go(self, place: Place) -> None:
        """With commits after handling every record is handled at least once through three rebalances."""
        run = fresh()
        crew = _Crew(place, run)
        async with (
            running(place.bus.producer()) as producer,
            asyncio.timeout(DEADLINE_S),
            asyncio.TaskGroup() as tasks,
        ):
            for names in ("a", "ab", "bc", "c"):
                for name in names:
                    if name not in crew.shares:
                        tasks.create_task(crew.work(name))
                for name in crew.shares.keys() - set(names):
                    crew.leaving.add(name)
                await producer.send_all(messages(run, 400)[crew.sent : crew.sent + 100])
                crew.sent += 100
                await crew.shared_out_among(names)
            await crew.handled_all()
            crew.leaving |= crew.shares.keys()
        assert crew.handled == set(range(400))

    async def test_a_lost_partition_cannot_be_committed(self, place: Place) -> None:
        """After a rebalance took a partition away its old owner is fenced, and keeps what it still has."""
        run = fresh()
        notes = [await at_end(place), await at_end(place)]
        async with AsyncExitStack() as stack:
            stays, joins = (
                place.bus.consumer(group=run, topics=BOTH, listener=listener) for listener in notes
            )
            await stack.enter_async_context(running(stays))
            await settle([stays], lambda: stays.assignment() == every(BOTH))
            await stack.enter_async_context(running(joins))
            await settle([stays, joins], lambda: shared_out([stays, joins]))
            for lost in joins.assignment():
                with pytest.raises(Fenced, match="member"):
                    await stays.commit({lost: 1})
            await stays.commit(stays.positions())

    async def test_an_expelled_member_is_fenced_and_joins_anew(self, place: Place) -> None:
        """Whoever fell out of the group cannot commit; its next fetch gives all up and takes all anew."""
        notes = await at_end(place)
        async with running(place.bus.consumer(group=fresh(), topics=BOTH, listener=notes)) as member:
            await settle([member], lambda: member.assignment() == every(BOTH))
            positions = member.positions()
            await place.expel(member)
            with pytest.raises(Fenced):
                await member.commit(positions)
            await settle([member], lambda: len(notes.heard) == 3)
            await member.commit(positions)
        assert [word for word, _ in notes.heard] == ["assigned", "revoked", "assigned"]
        assert {partitions for _, partitions in notes.heard} == {every(BOTH)}


def _partition_of(number: int, records: Sequence[Record]) -> int:
    key = f"-{number % 7}".encode()
    return next(each.partition for each in records if (each.key or b"").endswith(key))
