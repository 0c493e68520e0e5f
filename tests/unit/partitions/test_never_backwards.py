"""Results never move backwards, whatever two owners of a partition do by turns and wherever they die."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.bus.batches import Batch
from libs.common.bus.memory import Crash
from libs.common.bus.partitioner import partition_of
from libs.common.bus.ports import TopicPartition
from libs.common.errors import Fenced, Retryable
from libs.common.partitions.burial import Burial
from libs.common.partitions.held import Held
from libs.common.partitions.ownership import Ownership
from libs.common.partitions.publisher import Publisher
from libs.common.partitions.saver import Saver

TOPICS = ("exposures", "conversions")
PLACE = partition_of(b"unit-2", 4)
KEYS = [f"unit-{n}" for n in range(40) if partition_of(b"unit-%d" % n, 4) == PLACE][:4]
RECORDS = st.lists(
    st.tuples(st.sampled_from(TOPICS), st.sampled_from(KEYS), st.sampled_from(["1", "2", "7"])),
    min_size=1,
    max_size=40,
)
VERBS = [
    *["read"] * 6,
    *["publish"] * 3,
    *["publish and save"] * 3,
    *["settle"] * 2,
    *["again"] * 2,
    *["renew"] * 2,
    *["finish", "take", "lose", "die"],
]
TROUBLE = [""] * 12 + ["dies before", "dies after", "the store is away", "publish", "snapshot"]
"""The last two: the next call of this kind fails, whoever makes it."""
ACTIONS = st.tuples(st.sampled_from(VERBS), st.sampled_from(TROUBLE), st.integers(1, 5), st.integers(0, 4))
"""What an owner does, what happens to it meanwhile, how much it reads, and how far what is written comes."""
SHIFTS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.lists(ACTIONS, min_size=3, max_size=9)),
    min_size=3,
    max_size=8,
)
"""Which of the two acts, whether it takes the partition first or only thinks that it is its own, and how."""


class Owner:
    """One worker that does what a line does, a step at a time. What it writes goes on in the background while
    it reads, and while the other one is at work."""

    def __init__(self, shop: Any, name: str) -> None:
        self._shop = shop
        self._name = name

    async def step(self, verb: str, trouble: str, amount: int, ticks: int) -> None:
        """Do one thing, and let what is written take so many steps. A worker that dies begins anew with
        nothing, one whose store is away goes on."""
        store = self._shop.store
        if trouble == "the store is away":
            store.down()
        elif trouble in ("publish", "snapshot"):
            store.fails.add(trouble)
        elif trouble:
            kind = "snapshot" if amount % 2 else "publish"
            store.crash_at = (kind, store.calls[kind] + 1, trouble == "dies after")
        try:
            await self._do(verb, amount)
            for _ in range(ticks):
                await asyncio.sleep(0)
        except Crash:
            await self.die()
            await self.begin()
        except Fenced:
            self._own.drop(PLACE)
        except Retryable:
            pass
        finally:
            store.crash_at = None
            store.up()

    async def begin(self) -> None:
        """Begin as a new process, with nothing in memory."""
        shop = self._shop
        self._own: Ownership[Any] = Ownership(shop.store, shop.build, self._name, shop.clock, 1_000)
        self._own.consumer = shop.bus.reader(TOPICS)
        await self._own.consumer.start()
        burial: Burial[Any] = Burial(await shop.dead_letters(), self._own)
        self._publisher: Publisher[Any] = Publisher(shop.store, self._own, burial)
        self._saver: Saver[Any] = Saver(shop.store, self._own)

    async def die(self) -> None:
        """Do nothing more."""
        await self._saver.cancel()
        await self._publisher.cancel()

    @property
    def _held(self) -> Held[Any] | None:
        return self._own.held.get(PLACE)

    async def _do(self, verb: str, amount: int) -> None:
        match verb:
            case "take":
                await self._own.assigned(_places())
            case "lose":
                await self._own.revoked(_places())
            case "die":
                raise Crash("killed")
            case "again":
                await self._again()
            case "read":
                self._read(amount)
            case "renew":
                self._publisher.renew()
            case "settle":
                await self._settle()
            case "finish":
                await self._finish()
            case _:
                self._publisher.publish()
                if verb == "publish and save":
                    self._save()

    async def _again(self) -> None:
        """Let what is under way end, die, and begin anew from what was saved."""
        await self._settle()
        await self.begin()
        await self._own.assigned(_places())
        self._read(1)
        self._publisher.publish()
        await self._settle()

    async def _settle(self) -> None:
        await self._publisher.end()
        await self._saver.wait()

    def _read(self, amount: int) -> None:
        """Fold some records of one topic, the last of those before once more."""
        if self._held is None:
            return
        topic = TOPICS[amount % 2]
        start = self._held.offsets[topic] - 1
        batch = [each for each in _log(self._shop, topic) if each.offset >= start][: amount + 1]
        if batch:
            self._held.fold(topic, Batch.of(batch))

    def _save(self) -> None:
        held = self._held
        self._saver.check()
        if held is not None and self._saver.idle and held.worth_a_snapshot():
            self._saver.save(held, self._publisher.under_way(held))

    async def _finish(self) -> None:
        """Leave in order."""
        await self._settle()
        try:
            if self._held is not None:
                await self._held.publish(self._shop.store)
                self._save()
                await self._saver.wait()
        finally:
            self._own.drop(PLACE)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, later=RECORDS, shifts=SHIFTS)
def test_results_never_move_backwards(workshop: Any, records: Any, later: Any, shifts: Any) -> None:
    """After every step the published offsets are where they were or further on, and the published rows are
    those of a recount of the log up to these offsets, to the digit."""

    steps = []
    for who, takes, actions in shifts:
        steps += [(who, *action) for action in ([("take", "", 0, 0)] if takes else []) + actions]

    async def scenario() -> None:
        shop = workshop()
        await shop.send(records)
        owners = [Owner(shop, "one"), Owner(shop, "another")]
        for owner in owners:
            await owner.begin()
        covered = dict.fromkeys(TOPICS, 0)
        await owners[0].step("take", "", 0, 0)
        for number, (who, *action) in enumerate(steps):
            if number == len(steps) // 2:
                await shop.send(later)
            await owners[who].step(*action)
            offsets = shop.store.published_offsets(PLACE)
            for topic in TOPICS:
                assert offsets.get(topic, 0) >= covered[topic], topic
                covered[topic] = offsets.get(topic, 0)
            assert shop.result() == recount(shop, covered)
        for owner in owners:
            await owner.die()
        assert shop.went_backwards() == []

    asyncio.run(scenario())


def recount(shop: Any, offsets: dict[str, int]) -> dict[str, int]:
    """Return the sums by key over the log before these offsets."""
    sums: dict[str, int] = {}
    for topic, end in offsets.items():
        for each in _log(shop, topic):
            if each.offset < end:
                sums[each.key.decode()] = sums.get(each.key.decode(), 0) + int(each.value)
    return sums


def _log(shop: Any, topic: str) -> list[Any]:
    return [each for each in shop.bus.records(topic) if each.partition == PLACE]


def _places() -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(topic, PLACE) for topic in TOPICS)
